//! In place of the gateway: serves contexts to pods.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// By path. Anything else is not found.
#[derive(Clone, Default)]
pub(super) struct Contexts {
    files: Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>,
}

// === impl Contexts ===

impl Contexts {
    /// Serves for as long as the process lives, and gives the URL.
    pub(super) fn serve(&self, host: &str) -> String {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contexts = self.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let contexts = contexts.clone();
                thread::spawn(move || contexts.answer(&connection));
            }
        });
        url
    }

    pub(super) fn put(&self, path: &str, content: Vec<u8>) {
        self.files
            .lock()
            .unwrap()
            .insert(path.to_owned(), Arc::new(content));
    }

    fn answer(&self, mut connection: &TcpStream) {
        let mut lines = BufReader::new(connection).lines();
        let Some(Ok(request)) = lines.next() else { return };
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        while let Some(Ok(line)) = lines.next() {
            if line.is_empty() {
                break;
            }
        }
        let file = self.files.lock().unwrap().get(&path).cloned();
        let (status, content) = match file {
            Some(content) => ("200 OK", content),
            None => ("404 Not Found", Arc::default()),
        };
        let length = content.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        // Who asked may be gone.
        let _sent = connection
            .write_all(head.as_bytes())
            .and_then(|()| connection.write_all(&content));
    }
}
