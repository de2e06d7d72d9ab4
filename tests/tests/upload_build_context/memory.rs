//! A context of 1 GB goes through the gateway without going through its memory, whichever way it comes.

use std::{
    fs,
    io::{self, Read, Write},
    thread,
    time::Instant,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use ignite_proto::v1::{self, upload_build_context_request::Payload};
use ignite_tests::{context::noise, gateway::Gateway};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

const CONTENT_BYTES: u64 = 1 << 30;
const CHUNK_BYTES: usize = 512 << 10;
/// Beyond what compression can look back on.
const NOISE_BYTES: usize = 1 << 20;
const GROWTH_BYTES_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_over_grpc_takes_no_memory() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let metadata = v1::UploadBuildContextMetadata {
        content_type: "application/gzip".to_owned(),
        name: "large".to_owned(),
        expected_size_bytes: 0,
    };
    let payloads = tokio_stream::once(Payload::Metadata(metadata)).chain(archive().map(Payload::Chunk));
    let messages = payloads.map(|payload| v1::UploadBuildContextRequest {
        payload: Some(payload),
    });

    let memory = Memory::of(gateway.pid());
    let uploaded = caller
        .grpc
        .clone()
        .upload_build_context(messages)
        .await
        .unwrap()
        .into_inner();
    memory.assert_grew_little("over gRPC");
    assert!(u64::try_from(uploaded.size_bytes).unwrap() > CONTENT_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_over_http_takes_no_memory() {
    let gateway = Gateway::start();
    let caller = gateway.caller();
    let body = reqwest::Body::wrap_stream(archive().map(Ok::<_, io::Error>));

    let memory = Memory::of(gateway.pid());
    let uploaded = caller
        .http
        .post_bytes("/v1/ignite/builds/contexts?name=large", "application/gzip", body)
        .await;
    memory.assert_grew_little("over HTTP");
    assert_eq!(uploaded.status, 200, "{}", uploaded.body);
    let size_bytes: u64 = uploaded.body["sizeBytes"].as_str().unwrap().parse().unwrap();
    assert!(size_bytes > CONTENT_BYTES);
}

/// A tar.gz with one large file, made as it is read: it is never whole anywhere on this side either.
fn archive() -> ReceiverStream<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    thread::spawn(move || {
        let chunks = Chunks {
            sender,
            chunk: Vec::with_capacity(CHUNK_BYTES),
        };
        let written = write_archive(chunks);
        // The test says what a refused upload was refused for.
        drop(written);
    });
    ReceiverStream::new(receiver)
}

fn write_archive(chunks: Chunks) -> io::Result<()> {
    // Stored, not compressed: noise gets no smaller by it.
    let mut tar = tar::Builder::new(GzEncoder::new(chunks, Compression::none()));
    let dockerfile = b"FROM scratch\nCOPY large /\n";
    tar.append(
        &header("Dockerfile", dockerfile.len() as u64),
        dockerfile.as_slice(),
    )?;
    let noise = Repeated {
        block: noise(NOISE_BYTES, 1),
        at: 0,
    };
    tar.append(&header("large", CONTENT_BYTES), noise.take(CONTENT_BYTES))?;
    tar.into_inner()?.finish()?.flush()
}

fn header(path: &str, size_bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).unwrap();
    header.set_mode(0o644);
    header.set_size(size_bytes);
    header.set_cksum();
    header
}

/// The same bytes over and over.
struct Repeated {
    block: Vec<u8>,
    at: usize,
}

/// Sends what is written in pieces of the usual size.
struct Chunks {
    sender: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
}

/// A process's resident memory, from here on.
struct Memory {
    pid: u32,
    before_bytes: u64,
    started: Instant,
}

// === impl Repeated ===

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.block[self.at..]).read(buffer)?;
        self.at = (self.at + read) % self.block.len();
        Ok(read)
    }
}

// === impl Chunks ===

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        if full.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(full.into()).map_err(io::Error::other)
    }
}

// === impl Memory ===

impl Memory {
    fn of(pid: u32) -> Self {
        // Lets the kernel's record of the peak begin anew.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        Self {
            pid,
            before_bytes: status_bytes(pid, "VmRSS:"),
            started: Instant::now(),
        }
    }

    fn assert_grew_little(&self, how: &str) {
        let growth_bytes = status_bytes(self.pid, "VmHWM:").saturating_sub(self.before_bytes);
        println!(
            "1 GB {how}: resident memory grew by at most {:.1} MB in {:.1?}",
            growth_bytes as f64 / 1e6,
            self.started.elapsed()
        );
        assert!(
            growth_bytes < GROWTH_BYTES_MAX,
            "{how} the daemon grew by {growth_bytes} bytes"
        );
    }
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
