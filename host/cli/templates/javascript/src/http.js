// One POST over wasi:http. The gateway lets it reach the hosts that the policy grants, and no other.

import { handle } from 'wasi:http/outgoing-handler@0.2.12';
import { Fields, OutgoingBody, OutgoingRequest, RequestOptions } from 'wasi:http/types@0.2.12';

const TIMEOUT_NANOS = 5_000_000_000n;
// What a stream of the body takes at once.
const CHUNK_BYTES = 4096;

// What wasi:http fails with is a variant.
function described(error) {
  const payload = error?.payload ?? error;
  return new Error(payload?.tag ?? String(payload));
}

// The status of the answer, whose body nobody reads.
export function post(url, text) {
  const [, scheme, authority, path] = /^(https?):\/\/([^/]+)(\/.*)?$/.exec(url) ?? [];
  if (scheme === undefined) throw new Error('must begin with http:// or https://');
  try {
    const request = new OutgoingRequest(
      Fields.fromList([['content-type', new TextEncoder().encode('application/json')]]),
    );
    request.setMethod({ tag: 'post' });
    request.setScheme({ tag: scheme === 'https' ? 'HTTPS' : 'HTTP' });
    request.setAuthority(authority);
    request.setPathWithQuery(path ?? '/');
    const options = new RequestOptions();
    options.setConnectTimeout(TIMEOUT_NANOS);
    options.setFirstByteTimeout(TIMEOUT_NANOS);

    const outgoing = request.body();
    const response = handle(request, options);
    const bytes = new TextEncoder().encode(text);
    const stream = outgoing.write();
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      stream.blockingWriteAndFlush(bytes.subarray(at, at + CHUNK_BYTES));
    }
    stream[Symbol.dispose]();
    OutgoingBody.finish(outgoing, undefined);

    response.subscribe().block();
    // Of the option, of having been asked once, of the call.
    const answer = response.get();
    if (answer?.tag !== 'ok') throw new Error('no answer');
    if (answer.val.tag !== 'ok') throw new Error(answer.val.val.tag);
    return answer.val.val.status();
  } catch (error) {
    throw error instanceof Error && error.payload === undefined ? error : described(error);
  }
}
