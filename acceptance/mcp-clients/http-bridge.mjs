// Test only: carries what the conformance runner posts over HTTP to a server that speaks stdio, and nothing more.
// One server process for each `initialize`d session, and one for all requests that need none (2026-07-28).
// Usage: node http-bridge.mjs COMMAND [ARGUMENT…]; prints its URL; ends with its standard input.
import { createServer } from "node:http";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";

const command = process.argv.slice(2);
const sessions = new Map();
let stateless;

class Conversation {
  waiting = new Map();
  constructor() {
    this.child = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    this.child.on("exit", () => {
      for (const { answer } of this.waiting.values()) answer(null);
      this.waiting.clear();
    });
    this.child.stdin.on("error", () => {});
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const message = JSON.parse(line);
      const asked = this.waiting.get(message.id);
      if (!asked) return;
      this.waiting.delete(message.id);
      asked.answer({ ...message, id: asked.id });
    });
  }
  send(message) {
    this.child.stdin.write(JSON.stringify(message) + "\n");
  }
  // Two clients may use the same id, so each request travels under one of its own.
  request(message) {
    const id = randomUUID();
    return new Promise((answer) => {
      this.waiting.set(id, { id: message.id, answer });
      this.send({ ...message, id });
    });
  }
}

// The HTTP binding of 2026-07-28 gives some errors a status.
const STATUS = new Map([[-32601, 404], [-32020, 400], [-32021, 400], [-32022, 400]]);

async function answer(request, body) {
  const message = JSON.parse(body);
  const named = request.headers["mcp-session-id"];
  let conversation = sessions.get(named);
  const headers = { "content-type": "application/json" };
  if (named && !conversation) return { status: 404 };
  if (message.method === "initialize") {
    const id = randomUUID();
    conversation = new Conversation();
    sessions.set(id, conversation);
    headers["mcp-session-id"] = id;
  }
  conversation ??= stateless ??= new Conversation();
  if (message.id === undefined || message.method === undefined) {
    conversation.send(message);
    return { status: 202 };
  }
  const reply = await conversation.request(message);
  if (!reply) return { status: 502 };
  const modern = !named && message.method !== "initialize";
  return { status: (modern && STATUS.get(reply.error?.code)) || 200, headers, body: JSON.stringify(reply) };
}

const server = createServer((request, response) => {
  const end = ({ status, headers = {}, body = "" }) => response.writeHead(status, headers).end(body);
  if (request.method === "DELETE") {
    sessions.get(request.headers["mcp-session-id"])?.child.stdin.end();
    sessions.delete(request.headers["mcp-session-id"]);
    return end({ status: 200 });
  }
  if (request.method !== "POST") return end({ status: 405 });
  let body = "";
  request.setEncoding("utf8").on("data", (part) => (body += part)).on("end", () => {
    answer(request, body).then(end, (error) => end({ status: 400, body: String(error) }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
process.stdin.resume().on("end", () => {
  for (const { child } of [...sessions.values(), ...(stateless ? [stateless] : [])]) child.stdin.end();
  server.close();
  server.closeAllConnections();
});
