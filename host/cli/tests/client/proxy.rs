//! A proxy that tears connections down.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// Stands before a server at an address of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    address: SocketAddr,
    server: SocketAddr,
    accepting: Mutex<JoinHandle<()>>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn start(server: &str) -> Self {
        let server = server.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            endpoint: format!("http://{address}"),
            address,
            server,
            accepting: Mutex::new(tokio::spawn(accept(listener, server))),
        }
    }

    /// Tears every connection down and refuses new ones for a while.
    pub(crate) async fn cut_for(&self, time: Duration) {
        let accepting = {
            let mut accepting = self.accepting.lock().unwrap();
            std::mem::replace(&mut *accepting, tokio::spawn(std::future::pending()))
        };
        accepting.abort();
        let _ = accepting.await;
        sleep(time).await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        *self.accepting.lock().unwrap() = tokio::spawn(accept(listener, self.server));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.lock().unwrap().abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut upstream = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
        });
    }
}
