//! `ignite plugin inspect`: what a component is, and whether the gateway would take it. A file is looked at here.

use std::path::Path;

use ignite_proto::v1;

use super::{as_plugin, get, print};
use crate::{
    args::plugin::{InspectArgs, PluginRef},
    error::{Error, Result},
    offline::{self, Offline},
    output::{self, plugin as shown, table::record, text::lines},
    settings::Settings,
};

#[derive(Debug, serde::Serialize)]
struct Inspected {
    /// The gateway would take it.
    accepted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<v1::Plugin>,
}

pub(super) async fn run(args: InspectArgs, settings: &Settings) -> Result<()> {
    let path = Path::new(&args.what);
    if !path.is_file() {
        let plugin: PluginRef = args.what.parse().map_err(|why| {
            Error::input(format!(
                "{} is no file, and as the name of a stored plugin: {why}",
                args.what
            ))
        })?;
        let response = get(settings, plugin).await?;
        return print(settings, &response, response.plugin.as_ref());
    }
    let inspected = match Offline::new()?.admit(offline::read(path)?).await? {
        Ok(admitted) => Inspected {
            accepted: true,
            reason: None,
            plugin: Some(as_plugin(&admitted)),
        },
        Err(why) => Inspected {
            accepted: false,
            reason: Some(why),
            plugin: None,
        },
    };
    output::response(settings.output, &inspected, |detail| {
        match (&inspected.plugin, &inspected.reason) {
            (Some(plugin), _) => format!("{}Accepted       yes\n", shown::detail(plugin, detail)),
            (None, why) => record(&[
                ("Accepted", "no".to_owned()),
                ("Reason", lines(why.as_deref().unwrap_or_default()).into_owned()),
            ]),
        }
    })?;
    match inspected.accepted {
        true => Ok(()),
        false => Err(Error::NotPassed),
    }
}
