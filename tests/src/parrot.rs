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

/// What is asked.
#[derive(Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// As it came: base64 of user and password.
    pub login: Option<String>,
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
        Self::hearing_logins(move |asked| answer(&asked.method, &asked.path))
    }

    /// `answer` is shown the request's login too.
    pub fn hearing_logins(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks may go away; the next one is answered.
                if let Ok(asked) = read_request(&stream) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _gone = write_answer(&stream, &answer(&asked));
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

fn read_request(stream: &TcpStream) -> std::io::Result<Asked> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    let mut login = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                login = value.trim().strip_prefix("Basic ").map(str::to_owned);
            }
            Some(_) | None => {}
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let mut words = first.split(' ').map(str::to_owned);
    Ok(Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        login,
    })
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
