// Calls of a gRPC-like server: so many, with one message each, or both ways at once, each message after the answer to the last.
// What the messages say may follow.
import http2 from 'node:http2';
const [place, ...numbers] = process.argv.slice(2);
const [calls, messages] = numbers.slice(0, 2).map(Number);
const texts = process.argv.slice(5);
const text = (n) => texts[n] ?? `m${n};`;
let good = 0;
function call(session) {
  return new Promise((done) => {
    const r = session.request({ ':method': 'POST', ':path': '/pkg.Service/Call', 'content-type': 'application/grpc', te: 'trailers' });
    let got = '', sent = 0, trailers = {};
    const next = () => (sent < messages ? r.write(text(sent++)) : r.end());
    r.on('trailers', (t) => { trailers = t; });
    r.on('data', (d) => { got += d; if (messages > 1 && got.includes('echo ' + text(sent - 1))) next(); });
    r.on('close', () => done([got, trailers['grpc-status']]));
    r.on('error', () => done(['error', '']));
    r.setTimeout(8000, () => r.close());
    if (messages === 1) r.end(text(sent++));
    else next();
  });
}
for (let i = 0; i < calls; i++) {
  const session = http2.connect(place);
  session.on('error', () => {});
  const [got, status] = await call(session);
  let wanted = '';
  for (let m = 0; m < messages; m++) wanted += 'echo ' + text(m);
  if (got === wanted + 'bye' && status === '0') good++; else console.error(JSON.stringify([got.slice(0, 80), status]));
  session.close();
}
console.log(`${good} of ${calls}`);
process.exit(0);
