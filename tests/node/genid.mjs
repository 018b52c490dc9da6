// Format v1 in JavaScript, from SPEC.md alone: nothing of the Python package is called or copied.
// Canonical text is JSON.stringify over sorted names, which is what RFC 8785 builds on; the digest
// is BLAKE3 of @noble/hashes; UUID and base32 are done on BigInt instead of table look-ups.
//
//   node genid.mjs FOLDER_OF_NOBLE_HASHES < jobs > results
//
// reads one JSON document {"derive": [{stage, fields}…], "parse": [text…]} and writes
// {"derived": [{canonical, blake3, uuid, gen_id} | {refused}…], "parsed": [{stage, uuid} | {refused}…]}.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { blake3 } = await import(pathToFileURL(join(process.argv[2], "blake3.js")));

const STAGES = {
  draft: { prefix: "d", parents: {}, required: ["combo_id", "template_id", "llm_model_id"], optional: [] },
  essay: { prefix: "e", parents: { parent_gen_id: "d" }, required: ["parent_gen_id", "template_id"], optional: ["llm_model_id"] },
  evaluation: {
    prefix: "v", parents: { parent_gen_id: "e" }, required: ["parent_gen_id", "template_id", "llm_model_id"], optional: [],
  },
  // A further stage (SPEC 1.7), as the vectors declare it: it refers to itself.
  revision: {
    prefix: "r", parents: { draft_gen_id: "d", previous_gen_id: "r" }, required: ["draft_gen_id"],
    optional: ["previous_gen_id", "note"],
  },
};
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const ALLOWED = /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/;

function refuse(field) {
  throw Object.assign(new Error(`${field} is refused`), { field });
}

function component(name, value) {
  if (typeof value !== "string") refuse(name);
  const text = value.replace(/^[ \t\n\r\f\v]+|[ \t\n\r\f\v]+$/g, "");
  if (!ALLOWED.test(text)) refuse(name);
  return text.replace(/[A-Z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) + 32));
}

function reference(name, value, prefix) {
  if (typeof value !== "string" || !ALLOWED.test(value)) refuse(name);
  if (/^[devr]_/.test(value) && value[0] !== prefix) refuse(name);
  return value;
}

function canonical({ stage, fields }) {
  const rules = STAGES[stage];
  const members = { genid: 1, stage };
  for (const name of [...rules.required, ...rules.optional]) {
    const value = fields[name] ?? null;
    if (value === null && rules.optional.includes(name)) continue;
    members[name] = name in rules.parents ? reference(name, value, rules.parents[name]) : component(name, value);
  }
  // JSON.parse makes 1.0 and 1 the same number, so a float cannot be recognized here; the caller leaves
  // such jobs out.
  const { replicate } = fields;
  if (!Number.isInteger(replicate) || replicate < 1 || replicate > 2 ** 31 - 1) refuse("replicate");
  members.replicate = replicate;
  return JSON.stringify(members, Object.keys(members).sort());
}

const hex = (bytes) => Buffer.from(bytes).toString("hex");

function uuidText(bits) {
  const digits = bits.toString(16).padStart(32, "0");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join("-");
}

function derive(job) {
  const text = canonical(job);
  const digest = blake3(new TextEncoder().encode(text));
  const bytes = digest.slice(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const bits = BigInt(`0x${hex(bytes)}`);
  let suffix = "";
  for (let left = bits, place = 0; place < 26; place += 1, left /= 32n) {
    suffix = ALPHABET[Number(left % 32n)] + suffix;
  }
  return {
    canonical: text,
    blake3: hex(digest),
    uuid: uuidText(bits),
    gen_id: `${STAGES[job.stage].prefix}_${suffix}`,
  };
}

function parse(text) {
  if (!/^[devr]_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(text) || text.length !== 28) refuse("id");
  const bits = [...text.slice(2)].reduce((sum, digit) => sum * 32n + BigInt(ALPHABET.indexOf(digit)), 0n);
  if (((bits >> 76n) & 0xfn) !== 8n || ((bits >> 62n) & 3n) !== 2n) refuse("id");
  const [stage] = Object.entries(STAGES).find(([, rules]) => rules.prefix === text[0]);
  return { stage, uuid: uuidText(bits) };
}

function attempt(work, job) {
  try {
    return work(job);
  } catch (error) {
    if (error.field === undefined) throw error;
    return { refused: error.field };
  }
}

const jobs = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(
  JSON.stringify({
    derived: jobs.derive.map((job) => attempt(derive, job)),
    parsed: jobs.parse.map((text) => attempt(parse, text)),
  }),
);
