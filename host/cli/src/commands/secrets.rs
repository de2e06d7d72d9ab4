//! `ignite build secrets …`. Values come from files, stdin or the terminal, and go nowhere but into the request.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _},
    path::Path,
};

use ignite_proto::v1;

use crate::{
    args::secrets::{GroupArg, SecretsCommand, SetArgs},
    client::Client,
    error::{Error, Result},
    output::{self, secrets as shown},
    settings::Settings,
};

/// No secret may be longer.
const VALUE_BYTES_MAX: u64 = 256 * 1024;

pub(crate) async fn run(client: &Client, settings: &Settings, command: SecretsCommand) -> Result<()> {
    match command {
        SecretsCommand::Set(args) => {
            let request = request(*args)?;
            let said = shown::stored(&request);
            let response = client.save_secrets(request).await?;
            output::response(settings.output, &response, |_| said)
        }
        SecretsCommand::Get { .. } => {
            let response = client.secrets().await?;
            output::response(settings.output, &response, |_| shown::list(&response.secrets))
        }
        SecretsCommand::Clear { groups, .. } => {
            let request = v1::SaveBuildSecretsRequest {
                clear: groups.into_iter().map(clear).collect(),
                ..Default::default()
            };
            let said = shown::stored(&request);
            let response = client.save_secrets(request).await?;
            output::response(settings.output, &response, |_| said)
        }
    }
}

fn clear(group: GroupArg) -> i32 {
    v1::SecretGroup::from(group).into()
}

fn request(args: SetArgs) -> Result<v1::SaveBuildSecretsRequest> {
    let from_stdin = args.values.iter().filter(|value| value.from_stdin).count()
        + usize::from(args.password_stdin)
        + usize::from(args.git_password_stdin);
    if from_stdin > 1 {
        return Err(Error::input(
            "only one value can come from stdin: give the others as files",
        ));
    }
    let mut build_secrets = BTreeMap::new();
    for value in args.values {
        let text = read_value(value.from_stdin, &format!("Value of {}", value.name))?;
        add(&mut build_secrets, value.name, text)?;
    }
    for (name, path) in args.from_file {
        let text = read_file(&path)?;
        add(&mut build_secrets, name, text)?;
    }
    let mut registry_credentials = BTreeMap::new();
    if let (Some(host), Some(username)) = (args.registry, args.username) {
        let password = read_value(args.password_stdin, &format!("Password of {username} for {host}"))?;
        add(&mut registry_credentials, host, format!("{username}:{password}"))?;
    }
    for (host, path) in args.registry_from_file {
        let text = read_file(&path)?;
        add(&mut registry_credentials, host, text)?;
    }
    let has_git_login = args.git_username.is_some() || args.ssh_key.is_some();
    if !has_git_login && !args.git_hosts.is_empty() {
        return Err(Error::input("--git-host goes with --git-username or --ssh-key"));
    }
    let optional = |path: Option<&Path>| path.map(read_file).transpose().map(Option::unwrap_or_default);
    let git_credentials = if has_git_login {
        let password = match &args.git_username {
            Some(name) => read_value(
                args.git_password_stdin,
                &format!("Git password or token of {name}"),
            )?,
            None => String::new(),
        };
        Some(v1::GitCredentials {
            username: args.git_username.unwrap_or_default(),
            password,
            hosts: args.git_hosts,
            ssh_private_key: optional(args.ssh_key.as_deref())?,
            ssh_known_hosts: optional(args.known_hosts.as_deref())?,
        })
    } else {
        None
    };
    Ok(v1::SaveBuildSecretsRequest {
        registry_credentials,
        git_credentials,
        build_secrets,
        clear: Vec::new(),
    })
}

fn add(all: &mut BTreeMap<String, String>, name: String, value: String) -> Result<()> {
    if all.contains_key(&name) {
        return Err(Error::input(format!("{name:?} is given twice")));
    }
    all.insert(name, value);
    Ok(())
}

/// From stdin, or typed at a terminal without echo.
fn read_value(from_stdin: bool, prompt: &str) -> Result<String> {
    let unreadable = |error| Error::local("cannot read the value", error);
    if from_stdin {
        return read(std::io::stdin().lock(), "stdin");
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::input(format!(
            "{prompt}: there is no terminal to ask on; give it from stdin or as a file"
        )));
    }
    let terminal = console::Term::stderr();
    terminal.write_str(&format!("{prompt}: ")).map_err(unreadable)?;
    terminal.read_secure_line().map_err(unreadable)
}

fn read_file(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let file =
        std::fs::File::open(path).map_err(|error| Error::input(format!("cannot read {name}: {error}")))?;
    read(file, &name)
}

fn read(from: impl std::io::Read, name: &str) -> Result<String> {
    let mut text = String::new();
    from.take(VALUE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| Error::input(format!("cannot read {name}: {error}")))?;
    if text.len() as u64 > VALUE_BYTES_MAX {
        return Err(Error::input(format!(
            "{name}: must be at most {VALUE_BYTES_MAX} bytes"
        )));
    }
    Ok(without_line_end(text))
}

/// A value of one line is what stands on it: editors and `echo` add the end. A key or a certificate needs its own.
fn without_line_end(mut text: String) -> String {
    if text.lines().count() == 1 {
        let end = text.trim_end_matches(['\n', '\r']).len();
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::without_line_end;

    #[test]
    fn one_line_loses_its_end_and_several_keep_theirs() {
        for (given, expected) in [
            ("token\n", "token"),
            ("token\r\n", "token"),
            ("token", "token"),
            (" token \n", " token "),
            ("a\nb\n", "a\nb\n"),
            ("", ""),
        ] {
            assert_eq!(without_line_end(given.to_owned()), expected, "{given:?}");
        }
    }
}
