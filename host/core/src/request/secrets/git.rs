//! Logins to git servers.

use super::{SubmittedGit, Violations, hosts, ssh, wrong_username};
use crate::secrets::{GitHttpsLogin, GitLogin, GitSshLogin, SecretText};

const HOSTS_MAX: usize = 64;
const PASSWORD_BYTES_MAX: usize = 8 * 1024;

pub(super) fn check(sent: SubmittedGit, found: &mut Violations) -> GitLogin {
    let has_https = !(sent.username.is_empty() && sent.password.reveal().is_empty());
    let has_ssh = !(sent.ssh_private_key.reveal().is_empty() && sent.ssh_known_hosts.is_empty());
    if !has_https && !has_ssh {
        found.add(
            "git_credentials",
            "must have a username and a password, or an ssh_private_key and ssh_known_hosts, or both; to remove what is stored, \
             clear the group",
        );
    }
    GitLogin {
        hosts: check_hosts(&sent.hosts, found),
        https: has_https.then(|| check_https(sent.username, sent.password, found)),
        ssh: has_ssh.then(|| check_ssh(&sent.ssh_private_key, &sent.ssh_known_hosts, found)),
    }
}

fn check_hosts(sent: &[String], found: &mut Violations) -> Vec<String> {
    const FIELD: &str = "git_credentials.hosts";
    if sent.len() > HOSTS_MAX {
        found.add(FIELD, format!("must be at most {HOSTS_MAX}"));
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, text) in sent.iter().enumerate() {
        match hosts::host(text) {
            Ok(host) if all.contains(&host) => {}
            Ok(host) => all.push(host),
            Err(wrong) => found.add(format!("{FIELD}[{index}]"), wrong),
        }
    }
    all
}

fn check_https(username: String, password: SecretText, found: &mut Violations) -> GitHttpsLogin {
    if username.is_empty() {
        found.add(
            "git_credentials.username",
            "goes with the password; where the server wants a token only, any name will do, such as x-access-token or oauth2",
        );
    } else if let Some(wrong) = wrong_username(&username) {
        found.add("git_credentials.username", wrong);
    }
    let text = password.reveal();
    // git is told it in a protocol of lines.
    if text.is_empty() || text.len() > PASSWORD_BYTES_MAX || text.contains(char::is_control) {
        found.add(
            "git_credentials.password",
            format!("must be 1 to {PASSWORD_BYTES_MAX} bytes, without control characters"),
        );
    }
    GitHttpsLogin { username, password }
}

fn check_ssh(key: &SecretText, known_hosts: &str, found: &mut Violations) -> GitSshLogin {
    let private_key = match ssh::private_key(key.reveal()) {
        Ok(key) => key,
        Err(wrong) => {
            found.add("git_credentials.ssh_private_key", wrong);
            SecretText::default()
        }
    };
    if let Err(wrong) = ssh::check_known_hosts(known_hosts) {
        found.add("git_credentials.ssh_known_hosts", wrong);
    }
    GitSshLogin {
        private_key,
        known_hosts: known_hosts.to_owned(),
    }
}
