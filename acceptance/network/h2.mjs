// node h2.mjs KEY CERTIFICATE CONTENT: HTTP/2, or HTTP/1.1 for who does not speak it; tells its port.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
const [key, cert, content] = process.argv.slice(2).map((file) => readFileSync(file));
const server = createSecureServer({ key, cert, allowHTTP1: true }, (request, response) => {
  response.setHeader("x-spoken", request.httpVersion);
  const hash = createHash("sha256");
  request.on("data", (piece) => hash.update(piece));
  request.on("end", () => {
    if (request.httpVersion === "2.0") response.addTrailers({ "x-end": "all" });
    response.end(request.method === "POST" ? hash.digest("hex") : content);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
