// A gRPC-like server, without TLS unless a certificate and its key follow: echoes messages in both directions as they come, says
// what it got, and ends with trailers.
import fs from 'node:fs';
import http2 from 'node:http2';
const [cert, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));
const server = cert ? http2.createSecureServer({ cert, key }) : http2.createServer();
server.on('stream', (stream) => {
  stream.on('error', () => {});
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'well' }));
  stream.on('data', (data) => console.log(String(data)) ?? stream.write(Buffer.concat([Buffer.from('echo '), data])));
  stream.on('end', () => stream.end('bye'));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
