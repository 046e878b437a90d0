#!/usr/bin/env bash
# A bidirectional call of tonic returns only when the server's response headers are there. A client that
# sends its first message after the call, to a server that answers the first message, waits for ever.
#
# Versions: tonic 0.14.9, tokio 1 (crates.io), Rust 1.95; the server is Node 20.20's HTTP/2.
# Guess:    opening a stream gives a handle at once, as in Go, Java, C++ and JavaScript, and the headers come
#           with the first answer. Or else: tonic holds messages back until the headers are there.
# Seen:     neither. A message that is ready before the call is sent at once, and the call returns when the
#           answer comes. Without one, the call is still waiting seconds later. Servers send headers at once;
#           clients fill the request stream from another task.
# Output:   as below. (The build takes most of the time.)
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"

cargo init --quiet --name seen --vcs none
cargo add --quiet tonic@=0.14.9 --no-default-features --features channel,codegen
cargo add --quiet tokio@1 --features rt,macros,time,sync
cargo add --quiet tokio-stream@0.1 bytes@1 http@1

cat >server.mjs <<'END'
import { createServer } from "node:http2";

const server = createServer();
server.on("stream", (stream) => {
  stream.on("error", () => {});
  stream.once("data", () => stream.respond({ ":status": 200, "content-type": "application/grpc" }));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
END
cat >src/main.rs <<'END'
use bytes::{Buf, BufMut, Bytes};
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

/// Messages as they are, without a schema.
struct Raw;

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = format!("http://127.0.0.1:{}", std::env::args().nth(1).unwrap());
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    for ready in [true, false] {
        client.ready().await.unwrap();
        let (send, messages) = tokio::sync::mpsc::channel(1);
        if ready {
            send.send(Bytes::from_static(b"first")).await.unwrap();
        }
        let requests = tokio_stream::wrappers::ReceiverStream::new(messages);
        let path = http::uri::PathAndQuery::from_static("/t.T/Chat");
        let call = client.streaming(Request::new(requests), path, Raw);
        let returned = tokio::time::timeout(Duration::from_secs(3), call).await.is_ok();
        println!("a message is ready: {ready}, the call returned: {returned}");
    }
}
END
cargo build --quiet
node server.mjs >port &
server=$!
until [ -s port ]; do sleep 0.1; done
cat >expected <<'END'
a message is ready: true, the call returned: true
a message is ready: false, the call returned: false
END
cargo run --quiet -- "$(cat port)" >seen
diff expected seen
echo "as written"
