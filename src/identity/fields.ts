/**
 * Schemas of the fields that messages and records share. Each value has one spelling; any other
 * spelling is refused, not normalized.
 */
import { z } from "zod";
import {
  formatEndpoint,
  formatMac,
  formatPrefix,
  parseEndpoint,
  parseMac,
  parsePrefix,
} from "../address.js";
import { MAX_TIME } from "../time/clock.js";

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));

export const publicKey = hex(32);
export const signature = hex(64);
export const id = hex(16);
/** Names one run of a node. */
export const epoch = hex(4);
/** SHA-256. */
export const digest = hex(32);
/** The first bytes of a grant's signature, which name the grant. */
export const shortHash = hex(8);

export const base64 = z.string().regex(/^[A-Za-z0-9+/]+={0,2}$/);

/** An unsigned integer of 31 bits. */
export const count = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);

/** A time of day, in milliseconds since the epoch. */
export const time = z.int().min(0).max(MAX_TIME);

/** 1 to 63 characters of a-z, 0-9 and `-`, beginning and ending with a letter or digit. */
export const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);

/** A text of at most `most` characters that `respell` leaves as it is. */
const spelled = (most: number, respell: (text: string) => string) =>
  z
    .string()
    .max(most)
    .refine(
      (text) => {
        try {
          return respell(text) === text;
        } catch {
          return false;
        }
      },
      // Later checks may rely on the spelling.
      { abort: true },
    );

export const prefix = spelled(43, (text) => formatPrefix(parsePrefix(text)));
export const endpoint = spelled(47, (text) => formatEndpoint(parseEndpoint(text)));
export const mac = spelled(17, (text) => formatMac(parseMac(text)));

/** One line of printable ASCII: a character is a byte, and no two texts look alike. */
export const line = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[\x20-\x7e]*$/);

/** Most characters of a sentence for a person. */
export const MAX_SENTENCE = 400;
export const sentence = line(MAX_SENTENCE);
export const code = z.string().regex(/^[A-Z_]{1,40}$/);
