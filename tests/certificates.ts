/** Certificates for tests, made by `openssl` when they are first asked for. */

/** A certificate and its private key, as PEM text. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** What {@linkcode certificates} gives. */
export interface Certificates {
  /**
   * Where the files are: `ca.pem`, and of each identity `server.pem`,
   * `server.key` and so on.
   */
  readonly folder: string;
  /** An authority. */
  readonly ca: string;
  /** For `localhost` and 127.0.0.1, from the authority. */
  readonly server: Identity;
  /** For a client called `client`, from the authority. */
  readonly client: Identity;
  /** Another authority, that knows nothing of the first. */
  readonly otherCa: string;
  /** For a client called `other`, from the other authority. */
  readonly otherClient: Identity;
}

/** Options of {@linkcode issue}. */
export interface IssueOptions {
  /** Whom it is for, as in `/O=Example/CN=name`. */
  subject: string;
  /** Lines of extensions; further sections of openssl's file may follow. */
  extensions?: string;
  /** Who signs it; without, it signs itself. */
  issuer?: "ca" | "otherCa";
}

const MORE_THAN_TEN_YEARS = "4000";

let folder: string | undefined;
let made: Certificates | undefined;

function folderOfThisProcess(): string {
  if (folder === undefined) {
    const path = folder = Deno.makeTempDirSync({ prefix: "certificates_" });
    globalThis.addEventListener("unload", () => {
      Deno.removeSync(path, { recursive: true });
    });
  }
  return folder;
}

/** Makes a certificate, and leaves it in the folder under that name. */
export function issue(
  name: string,
  { subject, extensions = "", issuer }: IssueOptions,
): Identity {
  const path = folderOfThisProcess();
  Deno.writeTextFileSync(
    `${path}/${name}.cnf`,
    "[req]\ndistinguished_name = none\nx509_extensions = extensions\n" +
      `[none]\n[extensions]\n${extensions}\n`,
  );
  const { success, stderr } = new Deno.Command("openssl", {
    // deno-fmt-ignore
    args: [
      "req", "-x509", "-config", `${name}.cnf`, "-subj", subject,
      "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-days", MORE_THAN_TEN_YEARS,
      "-keyout", `${name}.key`, "-out", `${name}.pem`,
      ...issuer === undefined
        ? []
        : ["-CA", `${issuer}.pem`, "-CAkey", `${issuer}.key`],
    ],
    cwd: path,
    stdin: "null",
  }).outputSync();
  if (!success) {
    throw new Error(
      `openssl made no certificate: ${new TextDecoder().decode(stderr)}`,
    );
  }
  return {
    cert: Deno.readTextFileSync(`${path}/${name}.pem`),
    key: Deno.readTextFileSync(`${path}/${name}.key`),
  };
}

/** The certificates of this process. */
export function certificates(): Certificates {
  return made ??= {
    folder: folderOfThisProcess(),
    ca: issue("ca", {
      subject: "/CN=Authority",
      extensions: "basicConstraints = critical, CA:TRUE",
    }).cert,
    server: issue("server", {
      subject: "/CN=server",
      extensions: "subjectAltName = DNS:localhost, IP:127.0.0.1",
      issuer: "ca",
    }),
    client: issue("client", {
      subject: "/O=Example/CN=client",
      extensions: "extendedKeyUsage = clientAuth\n" +
        "subjectAltName = URI:spiffe://example.com/client",
      issuer: "ca",
    }),
    otherCa: issue("otherCa", {
      subject: "/CN=Other authority",
      extensions: "basicConstraints = critical, CA:TRUE",
    }).cert,
    otherClient: issue("other_client", {
      subject: "/CN=other",
      extensions: "extendedKeyUsage = clientAuth",
      issuer: "otherCa",
    }),
  };
}
