import { assertEquals, assertStrictEquals } from "@std/assert";
import { addressText, nameEndpoint } from "./address.ts";

Deno.test("addressText() writes an address as a person would, on one line", () => {
  const cases: [Parameters<typeof addressText>[0], string][] = [
    [{ hostname: "localhost", port: 8080 }, "localhost:8080"],
    [{ hostname: "::1", port: 1 }, "[::1]:1"],
    [{ hostname: "[::1]", port: 1 }, "[::1]:1"],
    [{ path: "/run/a.sock" }, "/run/a.sock"],
    [{ path: "/a\nb" }, "/a\\u000ab"],
    [{ path: "\0name" }, "\\u0000name"],
  ];
  for (const [address, text] of cases) assertEquals(addressText(address), text);
});

Deno.test("nameEndpoint() says what failed and where, once, and keeps class, code and cause", () => {
  const cases: [string, string][] = [
    [
      "Connection refused (os error 111)",
      "Cannot connect to localhost:1: connection refused",
    ],
    ["Cannot connect: too late", "Cannot connect to localhost:1: too late"],
    [
      "Cannot secure the connection: it broke: twice",
      "Cannot secure the connection to localhost:1: it broke: twice",
    ],
    [
      "Cannot authenticate: refused",
      "Cannot authenticate to localhost:1: refused",
    ],
    ["Cannot reach localhost:1: $&", "Cannot reach localhost:1: $&"],
    ["$& $1", "Cannot connect to localhost:1: $& $1"],
  ];
  for (const [message, expected] of cases) {
    const cause = new Error("inner");
    const error = new Deno.errors.ConnectionRefused(message, { cause });
    nameEndpoint(error, "connect to", "localhost:1");
    nameEndpoint(error, "connect to", "localhost:1");
    assertEquals(error.message, expected);
    assertEquals(error.stack?.split("\n")[0].endsWith(expected), true);
    assertStrictEquals(error.cause, cause);
  }
  nameEndpoint("no error", "connect to", "localhost:1");
  const frozen = Object.freeze(new Error("fixed"));
  nameEndpoint(frozen, "connect to", "localhost:1");
  assertEquals(frozen.message, "fixed");
});
