//! An HTTP server that hands requests to `git http-backend`, or misbehaves where the path says so:
//! `/redirect/…` redirects, `/private/…` wants a login that nobody has, `/guarded/…` wants that of the tests, `/echo/…` refuses
//! every login and says it back, `/forbidden/…` refuses, `/broken/…` fails, `/old/…` knows only
//! git's first protocol, in which commits without a name are not handed out.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{PASSWORD, USER};

pub(crate) struct Server {
    port: u16,
    logins: Logins,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// `Authorization` headers that came.
type Logins = Arc<Mutex<Vec<String>>>;

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

// === impl Server ===

impl Server {
    pub(crate) fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let logins = Logins::default();
        let seen = Arc::clone(&logins);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, root, seen) = (stream.unwrap(), root.clone(), Arc::clone(&seen));
                thread::spawn(move || serve(&stream, &root, &seen));
            }
        });
        Self {
            port,
            logins,
            stopping,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it was shown to let somebody in.
    pub(crate) fn logins(&self) -> Vec<String> {
        self.logins.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: &TcpStream, root: &Path, logins: &Logins) {
    let Some(request) = read(stream) else {
        return;
    };
    let login = request.header("authorization").map(str::to_owned);
    logins.lock().unwrap().extend(login.clone());
    let unauthorized = || "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"".to_owned();
    let is_right = login == Some(format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}"))));
    let (first, rest) = request.path[1..].split_once('/').unwrap_or_default();
    let answer = match first {
        "redirect" => format!("302 Found\r\nLocation: /{rest}?{}", request.query),
        "private" => unauthorized(),
        "guarded" if is_right => return backend(stream, root, &request, &format!("/{rest}"), true),
        "guarded" => unauthorized(),
        "echo" if login.is_none() => unauthorized(),
        "echo" => return echo(stream),
        "forbidden" => "403 Forbidden".to_owned(),
        "broken" => "503 Service Unavailable".to_owned(),
        "old" => return backend(stream, root, &request, &format!("/{rest}"), false),
        _ => return backend(stream, root, &request, &request.path, true),
    };
    let _ = write!(
        &*stream,
        "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
}

/// An answer in git's protocol: an error with the login in it, as no server should write one.
fn echo(stream: &TcpStream) {
    let said = format!(
        "ERR no {PASSWORD} here, nor {}",
        STANDARD.encode(format!("{USER}:{PASSWORD}"))
    );
    let body = format!("001e# service=git-upload-pack\n0000{:04x}{said}", said.len() + 4);
    let _ = write!(
        &*stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("expect").is_some() {
        write!(&*stream, "HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            (&mut reader).take(size).read_to_end(&mut request.body).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = request
            .header("content-length")
            .and_then(|length| length.parse().ok());
        reader
            .take(length.unwrap_or(0))
            .read_to_end(&mut request.body)
            .ok()?;
    }
    Some(request)
}

fn backend(stream: &TcpStream, root: &Path, request: &Request, path: &str, newest: bool) {
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(encoding) = request.header("content-encoding") {
        command.env("HTTP_CONTENT_ENCODING", encoding);
    }
    if let Some(protocol) = request.header("git-protocol").filter(|_| newest) {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(&request.body);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut status, mut headers) = ("200 OK".to_owned(), String::new());
    loop {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some(("Status", value)) => value.clone_into(&mut status),
            Some(_) => headers.push_str(&line),
            None => break,
        }
    }
    let _ = write!(
        &*stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
    );
    let _ = std::io::copy(&mut output, &mut &*stream);
    // Where the client has gone, git would wait for it.
    let _ = child.kill();
    let _ = child.wait();
}

// === impl Request ===

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}
