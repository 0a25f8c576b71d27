// An encrypted file as the Matrix specification has it ("Sending encrypted attachments").
import { createDecipheriv, createHash } from "node:crypto";

const bytes = (text) => Buffer.from(text, "base64"); // takes the URL-safe alphabet too

export async function decryptAttachment(data, file) {
  if (file.v !== "v2" || file.key.alg !== "A256CTR") throw new Error("not a v2 attachment");
  if (!createHash("sha256").update(data).digest().equals(bytes(file.hashes.sha256))) {
    throw new Error("the hash differs");
  }
  const cipher = createDecipheriv("aes-256-ctr", bytes(file.key.k), bytes(file.iv));
  return Buffer.concat([cipher.update(data), cipher.final()]);
}
