import { assert, assertEquals } from "@std/assert";
import { X509Certificate } from "node:crypto";
import type { PeerCertificate } from "node:tls";
import { certificates, issue } from "../../tests/certificates.ts";
import { type Random, seeded } from "../../tests/random.ts";
import { checkName, toTlsCertificate } from "./certificate.ts";

/** A certificate as `node:tls` gives it. */
function peerCertificate(cert: string): PeerCertificate {
  return new X509Certificate(cert).toLegacyObject() as PeerCertificate;
}

certificates();
const MANY_NAMES = issue("names", {
  subject: "/O=Example/OU=one/OU=two/CN=in-subject",
  extensions: `
    basicConstraints = CA:FALSE
    subjectAltName = critical, @names
    [names]
    DNS.1 = Example.com
    DNS.2 = *.example.org
    IP.1 = 10.0.0.255
    IP.2 = 2001:db8:0:0:0:0:0:1
    URI.1 = http://a, DNS:in-address, IP Address:10.9.9.9
    email.1 = a@example.com
    dirName.1 = directory
    [directory]
    CN = in-directory
  `,
  issuer: "ca",
});

Deno.test("toTlsCertificate() tells of the names, each by itself", () => {
  const certificate = toTlsCertificate(peerCertificate(MANY_NAMES.cert));
  assertEquals(certificate.subject, {
    O: "Example",
    OU: ["one", "two"],
    CN: "in-subject",
  });
  assertEquals(certificate.issuer, { CN: "Authority" });
  assertEquals(certificate.subjectAltNames, [
    "DNS:Example.com",
    "DNS:*.example.org",
    "IP Address:10.0.0.255",
    "IP Address:2001:db8::1",
    "URI:http://a, DNS:in-address, IP Address:10.9.9.9",
    "email:a@example.com",
  ]);
  assert(certificate.validTo.getUTCFullYear() > 2_030);
});

Deno.test("checkName() goes by the alternative names alone", () => {
  const certificate = peerCertificate(MANY_NAMES.cert);
  const cases: [string, boolean][] = [
    ["example.com", true],
    ["EXAMPLE.com", true],
    ["a.example.com", false],
    ["a.example.org", true],
    ["example.org", false],
    ["a.b.example.org", false],
    ["10.0.0.255", true],
    ["10.0.0.25", false],
    ["10.9.9.9", false],
    ["2001:db8::1", true],
    ["2001:0DB8::0:1", true],
    ["2001:db8::2", false],
    ["in-subject", false],
    ["in-address", false],
    ["in-directory", false],
    ["a", false],
    ["", false],
  ];
  for (const [name, isValid] of cases) {
    const error = checkName(name, certificate);
    assertEquals(error === undefined, isValid, `${name}: ${error}`);
  }
});

const WILDCARDS = issue("wildcards", {
  subject: "/CN=names",
  extensions: `
    basicConstraints = CA:FALSE
    subjectAltName = @names
    [names]
    DNS.1 = *.Example.com
    DNS.2 = f*.prefix.example
    DNS.3 = *o.suffix.example
    DNS.4 = f*o.middle.example
    DNS.5 = foo.*.second.example
    DNS.6 = *.*.two.example
    DNS.7 = **.double.example
    DNS.8 = xn--*.label.example
    DNS.9 = *
    DNS.10 = *.org
    DNS.11 = *.0.0.7
    DNS.12 = xn--bcher-kva.example
    IP.1 = 10.0.0.1
    URI.1 = https://in-uri.example/
    email.1 = a@in-email.example
  `,
  issuer: "ca",
});

Deno.test("checkName() matches as RFC 9525, section 6.3, says", () => {
  const certificate = peerCertificate(WILDCARDS.cert);
  const cases: [rule: string, name: string, isValid: boolean][] = [
    ["a wildcard stands for one label", "a.example.com", true],
    ["letters of either case are the same", "A.EXAMPLE.COM", true],
    ["a wildcard matches any label", "xn--bcher-kva.example.com", true],
    ["a wildcard stands for no less", "example.com", false],
    ["a wildcard stands for no more", "a.b.example.com", false],
    ["every other label is the same", "a.example.net", false],
    ["a wildcard has no text behind it", "foo.prefix.example", false],
    ["nor is it text itself", "f*.prefix.example", false],
    ["a wildcard has no text before it", "foo.suffix.example", false],
    ["a wildcard has no text around it", "foo.middle.example", false],
    ["a wildcard is the left-most label", "foo.a.second.example", false],
    ["there is one wildcard", "a.b.two.example", false],
    ["a wildcard is one character", "a.double.example", false],
    ["a wildcard is no part of an A-label", "xn--a.label.example", false],
    ["a wildcard is not all of the name", "localhost", false],
    ["a wildcard is not all below a top-level domain", "example.org", false],
    ["an A-label is compared as it is", "xn--bcher-kva.example", true],
    ["a part of a name is not the name", "bcher-kva.example", false],
    ["an address is compared with addresses", "10.0.0.1", true],
    ["an address matches no wildcard of a name", "10.0.0.7", false],
    ["a URI is not the name of a server", "in-uri.example", false],
    [
      "an e-mail address is not the name of a server",
      "in-email.example",
      false,
    ],
    ["the subject is not the name of a server", "names", false],
  ];
  for (const [rule, name, isValid] of cases) {
    const error = checkName(name, certificate);
    assertEquals(error === undefined, isValid, `${rule}: ${name}: ${error}`);
  }
});

Deno.test(
  "checkName() and toTlsCertificate() throw nothing at damaged certificates",
  seeded((random: Random) => {
    const certificate = peerCertificate(MANY_NAMES.cert);
    for (let i = 0; i < 1_000; i++) {
      const raw = certificate.raw.slice();
      for (let damages = random.integer(1, 4); damages > 0; damages--) {
        raw[random.integer(0, raw.length - 1)] = random.integer(0, 255);
      }
      const damaged = {
        ...certificate,
        raw: raw.subarray(0, random.integer(0, raw.length)),
      } as PeerCertificate;
      assert(toTlsCertificate(damaged).subjectAltNames.length < 1_000);
      checkName("example.com", damaged);
    }
  }),
);
