//! What starts builds: `ignite build create`, `retry`, and `upload` before them.

use std::path::{Path, PathBuf};

use ignite_proto::v1::{self, create_build_request::Source};
use prost::Message as _;
use std::io::Read as _;

use super::{build::follow_to_result, warn};
use crate::{
    args::build::{CreateArgs, FollowArgs, RetryArgs, SourceArgs, UploadArgs},
    client::Client,
    error::{Error, Result},
    output::{
        self, build as shown,
        table::record,
        text::{bytes, line},
    },
    pack::{self, Packed},
    progress::Progress,
    settings::Settings,
    upload::{self, Archive},
};

/// Largest CreateBuild message with an archive in it: below the 4 MiB a server takes, and the 4 MB the contract names.
const INLINE_BYTES_MAX: usize = 4 * 1024 * 1024 - 256 * 1024;
const DOCKERFILE: &str = "Dockerfile";

pub(crate) async fn create(client: &Client, settings: &Settings, args: CreateArgs) -> Result<()> {
    let follow = args.follow;
    let mut request = v1::CreateBuildRequest {
        name: args.name,
        dockerfile: args.dockerfile.unwrap_or_default(),
        tags: args.tags,
        build_args: args
            .build_args
            .into_iter()
            .map(|arg| (arg.name, arg.value))
            .collect(),
        no_cache: args.no_cache,
        // Less than a second is still not "the server's default".
        timeout_secs: args.build_timeout.map_or(0, |timeout| timeout.as_secs().max(1)),
        platform: args.platform.unwrap_or_default(),
        idempotency_key: args.idempotency_key.unwrap_or_else(random_key),
        labels: args.labels.into_iter().collect(),
        priority: args.priority,
        ..Default::default()
    };
    let source = source(client, settings, args.source, &mut request).await?;
    request.source = Some(source);
    let response = client.create(request).await?;
    accepted(
        client,
        settings,
        &response,
        &response.build_id,
        response.status,
        follow,
    )
    .await
}

pub(crate) async fn retry(client: &Client, settings: &Settings, args: RetryArgs) -> Result<()> {
    let request = v1::RetryBuildRequest {
        build_id: args.build_id,
        idempotency_key: args.idempotency_key.unwrap_or_else(random_key),
    };
    let response = client.retry(request).await?;
    accepted(
        client,
        settings,
        &response,
        &response.build_id,
        response.status,
        args.follow,
    )
    .await
}

pub(crate) async fn upload(client: &Client, settings: &Settings, args: UploadArgs) -> Result<()> {
    // A folder that is always spooled to a file can be sent whatever its size.
    let packed = pack(settings, args.folder, args.dockerfile, 0).await?;
    let response = send(client, settings, packed, args.name).await?;
    output::response(settings.output, &response, |_| {
        record(&[
            ("Context", line(&response.context_id).into_owned()),
            ("Size", bytes(u64::try_from(response.size_bytes).unwrap_or(0))),
            ("SHA-256", line(&response.sha256).into_owned()),
        ])
    })
}

async fn accepted<T: serde::Serialize>(
    client: &Client,
    settings: &Settings,
    response: &T,
    build_id: &str,
    status: i32,
    follow: FollowArgs,
) -> Result<()> {
    if follow.follow {
        return follow_to_result(client, settings, build_id, follow).await;
    }
    output::response(settings.output, response, |_| {
        shown::acknowledged(build_id, status)
    })
}

/// What the build is made from: a small folder goes with the request, a large one before it.
async fn source(
    client: &Client,
    settings: &Settings,
    args: SourceArgs,
    request: &mut v1::CreateBuildRequest,
) -> Result<Source> {
    if let Some(context_id) = args.context_id {
        return Ok(Source::ContextId(context_id));
    }
    if let Some(url) = args.git_url {
        return Ok(Source::GitSource(v1::GitSource {
            url,
            reference: args.git_ref.unwrap_or_default(),
            context_dir: args.git_dir.unwrap_or_default(),
        }));
    }
    let folder = args
        .context
        .ok_or_else(|| Error::input("one of --context, --context-id and --git-url is needed"))?;
    let dockerfile = match request.dockerfile.as_str() {
        "" => DOCKERFILE,
        named => named,
    };
    let dockerfile = pack::locate_dockerfile(&pack::context_root(&folder)?, dockerfile)?;
    request.dockerfile.clone_from(&dockerfile);
    let room_bytes = INLINE_BYTES_MAX.saturating_sub(request.encoded_len());
    let mut packed = pack(settings, folder, dockerfile, room_bytes).await?;
    if packed.size_bytes <= room_bytes as u64 {
        let mut archive = Vec::new();
        packed
            .archive
            .read_to_end(&mut archive)
            .map_err(|error| Error::local("cannot read the packed folder", error))?;
        return Ok(Source::ZippedCode(archive.into()));
    }
    let uploaded = send(client, settings, packed, request.name.clone()).await?;
    Ok(Source::ContextId(uploaded.context_id))
}

async fn pack(
    settings: &Settings,
    folder: PathBuf,
    dockerfile: String,
    memory_bytes_max: usize,
) -> Result<Packed> {
    let doing = format!("Packing {}", line(&folder_name(&folder)));
    let mut progress = Progress::new(settings.output.is_for_programs(), &doing, None);
    let packing = tokio::task::spawn_blocking(move || {
        let packed = pack::pack(&folder, &dockerfile, memory_bytes_max, &mut |done_bytes| {
            progress.at(done_bytes);
        })?;
        let done = format!(
            "{doing}: {} {}, {} packed",
            packed.entries,
            if packed.entries == 1 { "entry" } else { "entries" },
            bytes(packed.size_bytes)
        );
        progress.finish(&done);
        Ok::<_, Error>(packed)
    });
    let packed = packing
        .await
        .map_err(|error| Error::local("packing stopped", std::io::Error::other(error)))??;
    for warning in &packed.warnings {
        warn(settings, warning);
    }
    Ok(packed)
}

async fn send(
    client: &Client,
    settings: &Settings,
    packed: Packed,
    name: String,
) -> Result<v1::UploadBuildContextResponse> {
    let size_bytes = packed.size_bytes;
    let file = packed
        .archive
        .into_file()
        .map_err(|error| Error::local("cannot write the packed folder", error))?;
    let archive = Archive {
        file,
        size_bytes,
        name,
    };
    let progress = Progress::new(settings.output.is_for_programs(), "Uploading", Some(size_bytes));
    upload::upload(client, &archive, progress).await
}

fn folder_name(folder: &Path) -> String {
    folder.display().to_string()
}

/// Makes repeating a call safe: the server answers with the same build.
fn random_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}
