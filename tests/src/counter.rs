//! Counts visits: steps of a build call it, so that a test knows how often each really ran.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// An HTTP server that answers every GET with how often its path was asked for.
#[derive(Debug)]
pub struct Counter {
    address: String,
    visits: Arc<Mutex<BTreeMap<String, u32>>>,
    server: JoinHandle<()>,
}

// === impl Counter ===

impl Counter {
    pub async fn start() -> Self {
        Self::start_on("127.0.0.1").await
    }

    /// On this address of the machine, for those who do not share its loopback.
    pub async fn start_on(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let visits = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let seen = Arc::clone(&visits);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { Self::answer(stream, &seen).await });
            }
        });
        Self {
            address,
            visits,
            server,
        }
    }

    /// What a step is to GET: `http://host:port/<name>`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub fn visits(&self, name: &str) -> u32 {
        let visits = self.visits.lock().unwrap();
        visits.get(&format!("/{name}")).copied().unwrap_or(0)
    }

    async fn answer(mut stream: TcpStream, seen: &Mutex<BTreeMap<String, u32>>) -> Option<()> {
        let mut head = [0; 2048];
        let length = stream.read(&mut head).await.ok()?;
        let path = String::from_utf8_lossy(&head[..length])
            .split(' ')
            .nth(1)?
            .to_owned();
        let count = {
            let mut visits = seen.lock().unwrap();
            let count = visits.entry(path).or_default();
            *count += 1;
            count.to_string()
        };
        let length = count.len();
        let response =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{count}");
        stream.write_all(response.as_bytes()).await.ok()
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.server.abort();
    }
}
