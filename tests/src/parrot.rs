//! A server that answers everything with a text: a git server, a registry or a receiver of announcements that tells what it
//! must not.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// HTTP on loopback. It lives as long as the test process.
#[derive(Debug)]
pub struct Parrot {
    address: String,
    asked: Arc<AtomicUsize>,
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    pub status: &'static str,
    /// Each with its line end.
    pub headers: String,
    pub body: Vec<u8>,
}

// === impl Parrot ===

impl Parrot {
    /// `answer` is shown the request's method and path.
    pub fn start(answer: impl Fn(&str, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks may go away; the next one is answered.
                if let Ok((method, path)) = read_request(&stream) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _gone = write_answer(&stream, &answer(&method, &path));
                }
            }
        });
        Self { address, asked }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The method and the path.
fn read_request(stream: &TcpStream) -> std::io::Result<(String, String)> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
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
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let mut words = first.split(' ').map(str::to_owned);
    Ok((words.next().unwrap_or_default(), words.next().unwrap_or_default()))
}

fn write_answer(mut stream: &TcpStream, answer: &Answer) -> std::io::Result<()> {
    let length = answer.body.len();
    write!(
        stream,
        "HTTP/1.1 {}\r\n{}content-length: {length}\r\nconnection: close\r\n\r\n",
        answer.status, answer.headers
    )?;
    stream.write_all(&answer.body)
}
