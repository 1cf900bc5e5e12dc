/** JSON texts of about 1 MiB, the default limit, that cost most to decode. */

const MIB = 1_048_576;

/** Good ones, by what they have many of. */
export const WIDE: readonly (readonly [name: string, text: string])[] = [
  ["arrays", `[${"[],".repeat(349_000)}[]]`],
  ["objects", `[${"{},".repeat(349_000)}{}]`],
  ["numbers", `[${"0,".repeat(523_000)}0]`],
  ["strings", `[${'"a",'.repeat(261_000)}"a"]`],
  ["shapes", shapes(60_000)],
];

/** Bad ones, which are nested too deep, or seem to be. */
export const DEEP: readonly (readonly [name: string, text: string])[] = [
  "[",
  '{"a":',
  "[[],[",
  '["]]]]",',
  `"${"[".repeat(500_000)}",[`,
].map((part) => [
  part.slice(0, 9),
  part.repeat(MIB / part.length + 1).slice(0, MIB),
]);

function shapes(count: number): string {
  const objects = Array.from(
    { length: count },
    (_, i) => `{"k${i}":${i % 10}}`,
  );
  return `[${objects.join()}]`;
}
