//! `ignite login`: a token for an endpoint, tried once and stored.

use std::{
    io::{IsTerminal as _, Read as _},
    path::Path,
};

use ignite_proto::v1;

use super::warn;
use crate::{
    args::LoginArgs,
    client::Client,
    error::{Error, Result},
    output,
    settings::{Settings, file::ConfigFile, token::Token},
};

/// No token is longer; what is has been piped in by mistake.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

pub(crate) async fn run(
    args: &LoginArgs,
    mut settings: Settings,
    mut file: ConfigFile,
    path: &Path,
) -> Result<()> {
    let loopback = ["http://127.", "http://localhost", "http://[::1]"];
    if !settings.endpoint.is_tls()
        && !loopback
            .iter()
            .any(|start| settings.endpoint.as_str().starts_with(start))
    {
        warn(
            &settings,
            &format!("{} is not TLS: the token is sent in clear", settings.endpoint),
        );
    }
    let token = read_token(&settings)?;
    settings.token = Some(token.clone());
    if !args.no_verify {
        let client = Client::new(&settings)?;
        let request = v1::ListBuildsRequest {
            limit: 1,
            ..Default::default()
        };
        match client.list(request).await {
            Ok(_) => {}
            // The token is known; what it may do is another matter.
            Err(Error::Rpc(status)) if status.code() == tonic::Code::PermissionDenied => {}
            Err(error) => return Err(error),
        }
        if let Some(org) = &settings.org {
            client.check_org(org).await?;
        }
    }
    let endpoint = settings.endpoint.to_string();
    file.tokens.insert(endpoint.clone(), token);
    file.api_endpoint = Some(endpoint);
    file.save(path)?;
    if !settings.output.is_for_programs() {
        output::stderr(&format!(
            "Logged in to {}; stored in {}.",
            settings.endpoint,
            path.display()
        ));
    }
    Ok(())
}

/// From the terminal without echo, or the whole of stdin.
fn read_token(settings: &Settings) -> Result<Token> {
    let unreadable = |error| Error::local("cannot read the token", error);
    if std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        terminal
            .write_str(&format!("Token for {}: ", settings.endpoint))
            .map_err(unreadable)?;
        return Token::new(&terminal.read_secure_line().map_err(unreadable)?);
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Token::new(&text)
}
