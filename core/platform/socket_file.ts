/**
 * The file of a Unix socket: made for its owner alone, by one server at a time,
 * and removed by the server that made it.
 *
 * ```text
 * PATH.d/     a directory that only the owner may enter, gone once it listens
 * PATH.d/s    bound, then only the owner may connect ─ link ─▶ PATH
 * PATH.lock   shared by the servers that live; names the file that was linked
 * ```
 *
 * The directory comes first: between `bind` and `chmod`, the umask alone says
 * who may connect to a socket.
 *
 * The link decides which one of several servers listens: it fails where PATH
 * stands. A file is left over if its server does not live any more, which an
 * exclusive lock proves: the system frees the locks of a process that ended.
 *
 * @module
 */
import { closeSocket } from "./socket.ts";
import {
  EARLY_NAME,
  filesBeside,
  keepPermissions,
  missingPermissions,
  type PermissionNeed,
  permissionsForFiles,
} from "./permissions.ts";

function infoOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** What tells a socket from others at its path; `undefined` for anything else. */
function idOf(path: string): string | undefined {
  const info = infoOf(path);
  // The number of a file that is gone is used again; the time is not.
  return info?.isSocket
    ? `${info.dev} ${info.ino} ${info.mtime?.getTime()}`
    : undefined;
}

/** A listener on a Unix socket, with its file. */
export class SocketFile {
  /** Accepts the connections. */
  readonly listener: Deno.Listener;
  readonly #path: string;
  readonly #lock: Deno.FsFile;
  readonly #id: string | undefined;
  readonly #needs: readonly PermissionNeed[];
  readonly #release: () => void;

  /**
   * Listens at an absolute path.
   *
   * @param removeStale Whether a socket that a server of this kind has left
   * there is removed.
   * @throws {Deno.errors.AddrInUse} If the path is in use.
   */
  constructor(path: string, removeStale: boolean) {
    checkLength(path);
    this.#path = path;
    this.#needs = permissionsForFiles(path);
    for (;;) {
      const lock = lockFor(path);
      try {
        [this.listener, this.#id] = create(path, lock);
        this.#lock = lock;
        this.#release = keepPermissions(this.#needs);
        return;
      } catch (error) {
        const retries = error instanceof Deno.errors.AddrInUse &&
          removeStale && removeLeft(path, lock);
        if (retries) lock.close();
        else {
          unlock(path, lock);
          throw error;
        }
      }
    }
  }

  /** Stops listening, and removes the file while it is still the same. */
  close(): void {
    closeSocket(this.listener);
    this.#release();
    // Without the permissions, the next server removes what is left.
    if (missingPermissions(this.#needs).length > 0) {
      return this.#lock.close();
    }
    if (this.#id !== undefined && idOf(this.#path) === this.#id) {
      Deno.removeSync(this.#path);
    }
    unlock(this.#path, this.#lock);
  }
}

/** Says that this process lives, until the file is closed. */
function lockFor(path: string): Deno.FsFile {
  const { lock } = filesBeside(path);
  for (;;) {
    const options = { read: true, write: true, create: true, mode: 0o600 };
    const file = Deno.openSync(lock, options);
    file.lockSync(false);
    if (isAt(lock, file)) return file;
    // The last server has removed it meanwhile.
    file.close();
  }
}

function isAt(path: string, file: Deno.FsFile): boolean {
  const info = infoOf(path);
  const own = file.statSync();
  return info?.dev === own.dev && info.ino === own.ino;
}

/** Removes the lock file where no server lives, and none has left anything. */
function unlock(path: string, file: Deno.FsFile): void {
  const { lock } = filesBeside(path);
  if (
    file.tryLockSync(true) && isAt(lock, file) &&
    leftAt(path, file).length === 0
  ) Deno.removeSync(lock);
  file.close();
}

/** The platform's own error speaks of the early path, and gives no number. */
function checkLength(path: string): void {
  const { length } = new TextEncoder().encode(path);
  const limit = (Deno.build.os === "darwin" ? 103 : 107) -
    `.d/${EARLY_NAME}`.length;
  if (length <= limit) return;
  throw new TypeError(
    `Cannot listen on ${path}: the path is ${length} bytes long, limit is ${limit} bytes`,
  );
}

function create(
  path: string,
  lock: Deno.FsFile,
): [Deno.Listener, string | undefined] {
  const { directory, early } = filesBeside(path);
  orInUse(path, directory, () => Deno.mkdirSync(directory, { mode: 0o700 }));
  let listener: Deno.Listener | undefined;
  let isLinked = false;
  try {
    // Whatever the umask: one that is meant for sockets, 0177, takes the `x`.
    Deno.chmodSync(directory, 0o700);
    listener = Deno.listen({ transport: "unix", path: early });
    orInUse(path, directory, () => Deno.chmodSync(early, 0o600));
    const id = idOf(early);
    orInUse(path, path, () => Deno.linkSync(early, path));
    isLinked = true;
    lock.truncateSync();
    lock.writeSync(new TextEncoder().encode(id));
    Deno.removeSync(early);
    Deno.removeSync(directory);
    return [listener, id];
  } catch (error) {
    listener?.close(); // removes the early file, too
    Deno.removeSync(directory);
    if (isLinked) Deno.removeSync(path);
    throw error;
  }
}

/** Has an error say which path is in use, and why. */
function orInUse<Value>(
  path: string,
  blocked: string,
  make: () => Value,
): Value {
  try {
    return make();
  } catch (error) {
    const isInUse = error instanceof Deno.errors.AddrInUse ||
      error instanceof Deno.errors.AlreadyExists ||
      // A server that closed at this moment has removed the early file: the
      // directory is there, as the lock is.
      error instanceof Deno.errors.NotFound;
    if (!isInUse) throw error;
    const kind = blocked === path ? "socket" : "directory";
    const reason = whyBlocked(blocked, kind);
    throw new Deno.errors.AddrInUse(`Cannot listen on ${path}: ${reason}`);
  }
}

function whyBlocked(path: string, kind: "socket" | "directory"): string {
  // Another server may have removed it meanwhile.
  const info = infoOf(path);
  const isKind = kind === "socket" ? info?.isSocket : info?.isDirectory;
  if (isKind === false) return `${path} exists and is not a ${kind}`;
  return kind === "directory" &&
      namesIn(path)?.some((name) => name !== EARLY_NAME)
    ? `${path} exists and holds other files`
    : "address already in use";
}

/** What is in a directory that can be read; `undefined` for anything else. */
function namesIn(directory: string): string[] | undefined {
  if (!infoOf(directory)?.isDirectory) return undefined;
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch (error) {
    const isOfOthers = error instanceof Deno.errors.PermissionDenied ||
      error instanceof Deno.errors.NotFound;
    if (!isOfOthers) throw error;
    return undefined;
  }
}

/**
 * Removes what a server has left that ended without closing, and tells whether
 * there was anything.
 */
function removeLeft(path: string, lock: Deno.FsFile): boolean {
  // Others live, or are about to.
  if (!lock.tryLockSync(true)) return false;
  const left = leftAt(path, lock);
  for (const file of left) Deno.removeSync(file);
  return left.length > 0;
}

/** What a server has left, where none lives: in the order of removal. */
function leftAt(path: string, lock: Deno.FsFile): string[] {
  const { directory, early } = filesBeside(path);
  const names = namesIn(directory);
  const id = idOf(path);
  const earlyId = names?.includes(EARLY_NAME) ? idOf(early) : undefined;
  const isLinked = id !== undefined &&
    (id === earlyId || id === linkedBefore(lock));
  return [
    ...(isLinked ? [path] : []),
    ...(earlyId === undefined ? [] : [early]),
    // With anything else inside, it is not of a server.
    ...(names?.length === (earlyId === undefined ? 0 : 1) ? [directory] : []),
  ];
}

function linkedBefore(lock: Deno.FsFile): string {
  const bytes = new Uint8Array(128);
  lock.seekSync(0, Deno.SeekMode.Start);
  return new TextDecoder().decode(bytes.subarray(0, lock.readSync(bytes) ?? 0));
}
