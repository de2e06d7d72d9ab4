//! Whether a plugin takes a configuration: first by its JSON Schema, then by its own word.

use std::{io, sync::Arc};

use ignite_core::{
    hook::ConfigProblem,
    policy::{CallLimits, Settings},
};

use crate::{CallError, Plugin, schema};

const PLACE_CHARS_MAX: usize = 512;

/// Why nobody can tell.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration could not be held against the plugin's schema")]
    Child(#[source] io::Error),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What is wrong with the configuration in `settings`. The plugin is waited for, and asked, only where its `schema` has nothing to
/// say; `checker` is as in [`schema::check`].
///
/// # Errors
/// If the schema's child could not be started, or the call failed.
pub async fn problems(
    checker: &[String],
    schema: &str,
    settings: &Settings,
    plugin: impl Future<Output = Result<Arc<Plugin>, CallError>>,
) -> Result<Vec<ConfigProblem>, ConfigError> {
    let config = &settings.config;
    let found = schema::check(checker, schema, config)
        .await
        .map_err(ConfigError::Child)?;
    if !found.is_empty() {
        let problem = |schema::Problem { path, message }| ConfigProblem { path, message };
        return Ok(found.into_iter().map(problem).collect());
    }
    Ok(plugin.await?.check_config(config, limits(settings)).await?)
}

/// Checking may take longer than the policy lets a hook: it happens once.
fn limits(settings: &Settings) -> CallLimits {
    let default = CallLimits::default();
    CallLimits {
        timeout: settings.limits.timeout.max(default.timeout),
        memory_bytes: settings.limits.memory_bytes.max(default.memory_bytes),
    }
}

/// Where a JSON Pointer into an entry's configuration stands in the policy's document, such as `plugin[0].config.allow[2]`.
pub fn place(index: usize, pointer: &str) -> String {
    let mut place = format!("plugin[{index}].config");
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !token.is_empty() && token.chars().all(|c| c.is_ascii_digit()) {
            place.push_str(&format!("[{token}]"));
        } else if !token.is_empty() && token.chars().all(bare) {
            place.push_str(&format!(".{token}"));
        } else {
            place.push_str(&format!(".{token:?}"));
        }
    }
    place.chars().take(PLACE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_becomes_a_place_in_the_document() {
        assert_eq!(place(0, ""), "plugin[0].config");
        assert_eq!(place(2, "/allow/10/host"), "plugin[2].config.allow[10].host");
        assert_eq!(place(1, "/a~1b/x y"), "plugin[1].config.\"a/b\".\"x y\"");
    }
}
