//! `ignite plugin …`: here the calls of the server; what works offline has a file of its own.

use ignite_core::hook::Hook;
use ignite_plugins::Admitted;
use ignite_proto::v1;

use super::pages;
use crate::{
    args::plugin::{PageArgs, PluginCommand, PluginRef, PushArgs},
    client::Client,
    error::{Error, Result},
    offline::Offline,
    output::{self, plugin as shown, text::now_ms},
    progress::Progress,
    settings::Settings,
    upload,
};

mod bench;
mod build;
mod inspect;
mod new;
mod test;

pub(crate) async fn run(command: PluginCommand, settings: &Settings) -> Result<()> {
    match command {
        PluginCommand::New(args) => new::run(args, settings),
        PluginCommand::Build(args) => build::run(&args, settings),
        PluginCommand::Inspect(args) => inspect::run(args, settings).await,
        PluginCommand::Test(args) => test::run(args, settings).await,
        PluginCommand::Bench(args) => bench::run(args, settings).await,
        PluginCommand::Push(args) => push(settings, args).await,
        PluginCommand::Import { reference, .. } => {
            let response = client(settings).await?.import_plugin(reference).await?;
            print(settings, &response, response.plugin.as_ref())
        }
        PluginCommand::List(args) => list(settings, args).await,
        PluginCommand::Get { plugin, .. } => {
            let response = get(settings, plugin).await?;
            print(settings, &response, response.plugin.as_ref())
        }
        PluginCommand::Delete { plugin, .. } => {
            let deleted = match plugin.version.as_str() {
                "" => format!("Deleted all versions of {}", plugin.name),
                version => format!("Deleted {} {version}", plugin.name),
            };
            let request = v1::DeletePluginRequest {
                name: plugin.name,
                version: plugin.version,
            };
            let response = client(settings).await?.delete_plugin(request).await?;
            output::response(settings.output, &response, |_| {
                output::text::line(&deleted).into_owned()
            })
        }
    }
}

/// For commands that do call the server; refuses if the token belongs to another organization than `--org`.
pub(crate) async fn client(settings: &Settings) -> Result<Client> {
    let client = Client::new(settings)?;
    if let Some(org) = &settings.org {
        client.check_org(org).await?;
    }
    Ok(client)
}

async fn get(settings: &Settings, plugin: PluginRef) -> Result<v1::GetPluginResponse> {
    let request = v1::GetPluginRequest {
        name: plugin.name,
        version: plugin.version,
    };
    client(settings).await?.get_plugin(request).await
}

fn print<T: serde::Serialize>(settings: &Settings, response: &T, plugin: Option<&v1::Plugin>) -> Result<()> {
    let plugin = plugin.ok_or(Error::Nonsense("a plugin without a record"))?;
    output::response(settings.output, response, |detail| shown::detail(plugin, detail))
}

async fn list(settings: &Settings, args: PageArgs) -> Result<()> {
    let client = client(settings).await?;
    let mut response = v1::ListPluginsResponse::default();
    let next = pages(args, async |limit, cursor| {
        let page = client
            .list_plugins(v1::ListPluginsRequest { limit, cursor })
            .await?;
        response.plugins.extend(page.plugins);
        Ok(page.next_cursor)
    })
    .await?;
    response.next_cursor = next;
    output::response(settings.output, &response, |detail| {
        shown::list(&response.plugins, detail, now_ms())
    })?;
    super::say_there_are_more(settings, &response.next_cursor);
    Ok(())
}

async fn push(settings: &Settings, args: PushArgs) -> Result<()> {
    let metadata = match args.unexamined {
        Some(PluginRef { name, version }) if !version.is_empty() => {
            v1::UploadPluginMetadata { name, version }
        }
        Some(_) => {
            return Err(Error::input(
                "--as: must be NAME@VERSION, such as base-images@0.1.0",
            ));
        }
        None => {
            let description = Offline::new()?.load(&args.file).await?.description;
            v1::UploadPluginMetadata {
                name: description.name,
                version: description.version,
            }
        }
    };
    let unreadable = |error| Error::input(format!("cannot read {}: {error}", args.file.display()));
    let file = std::fs::File::open(&args.file).map_err(unreadable)?;
    let size_bytes = file.metadata().map_err(unreadable)?.len();
    let client = client(settings).await?;
    let progress = Progress::new(settings.output.is_for_programs(), "Uploading", Some(size_bytes));
    let response = upload::send(
        &client,
        &file,
        progress,
        async |chunks| client.upload_plugin(metadata.clone(), chunks).await,
        |_| format!("Uploaded {} {}", metadata.name, metadata.version),
    )
    .await?;
    print(settings, &response, response.plugin.as_ref())
}

/// A component that was looked at here, in the shape in which the server shows one.
fn as_plugin(admitted: &Admitted) -> v1::Plugin {
    v1::Plugin {
        name: admitted.description.name.clone(),
        version: admitted.description.version.clone(),
        digest: admitted.digest.to_string(),
        size_bytes: i64::try_from(admitted.size_bytes).unwrap_or(i64::MAX),
        summary: admitted.description.summary.clone(),
        hooks: admitted.hooks.iter().map(Hook::to_string).collect(),
        imports: admitted.imports.clone(),
        config_schema: admitted.description.config_schema.clone(),
        ..Default::default()
    }
}
