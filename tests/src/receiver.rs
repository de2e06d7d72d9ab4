//! Something on this machine that is told of ended builds.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// An HTTP server that keeps what is sent to it. It lives as long as the test process.
#[derive(Debug)]
pub struct Receiver {
    address: String,
    bodies: Arc<Mutex<Vec<serde_json::Value>>>,
}

// === impl Receiver ===

impl Receiver {
    /// Answers 503 to the first `refused` requests and 200 to all others.
    pub fn start(refused: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _gone = answer(&stream, &kept, refused);
            }
        });
        Self { address, bodies }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What came so far, the refused too.
    pub fn bodies(&self) -> Vec<serde_json::Value> {
        self.bodies.lock().unwrap().clone()
    }
}

fn answer(stream: &TcpStream, kept: &Mutex<Vec<serde_json::Value>>, refused: usize) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let count = {
        let mut kept = kept.lock().unwrap();
        kept.push(serde_json::from_slice(&body).unwrap());
        kept.len()
    };
    let status = if count > refused {
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    write!(
        &*stream,
        "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}
