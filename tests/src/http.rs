//! A plain HTTP/JSON client.

use serde_json::Value;

/// HTTP calls with a token.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A status code and the body as JSON; not JSON is a string.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

// === impl Http ===

impl Http {
    pub fn new(address: &str, token: Option<&str>) -> Self {
        // A second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{address}"),
            token: token.map(str::to_owned),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        Self::answer(self.request(reqwest::Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Self::answer(self.request(reqwest::Method::POST, path).json(body)).await
    }

    /// Posts raw bytes, whole or as a stream.
    pub async fn post_bytes(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(reqwest::Method::POST, path);
        Self::answer(request.header("content-type", content_type).body(body)).await
    }

    /// Reads a stream to its end, one JSON value a line.
    pub async fn lines(&self, path: &str) -> Vec<Value> {
        let response = self.request(reqwest::Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let text = response.text().await.unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Reads a stream as far as it comes, though its sender dies.
    pub async fn text_until_cut(&self, path: &str) -> String {
        let mut text = Vec::new();
        if let Ok(mut response) = self.request(reqwest::Method::GET, path).send().await {
            while let Ok(Some(bytes)) = response.chunk().await {
                text.extend_from_slice(&bytes);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, body }
    }
}
