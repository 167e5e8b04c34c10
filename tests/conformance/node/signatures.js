// Reads callbacks as they arrived, one JSON array, and prints what the official SDK's validator says of each.
'use strict';

const plivo = require('plivo');

const read = async () => {
  const parts = [];
  for await (const part of process.stdin) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString());
};

read().then((callbacks) => {
  const verdicts = callbacks.map(({ method, url, nonce, token, signature, params }) =>
    plivo.validateV3Signature(method, url, nonce, token, signature, params));
  process.stdout.write(JSON.stringify(verdicts));
});
