//! The gateway without a listener; its children are the real daemon's.

use std::{collections::BTreeMap, env, fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use ignite_proto::v1::{self, create_build_request::Source};
use ignite_server::{
    app::App,
    config::{Config, Sources},
    error::{Error, Result},
    executor::scripted::Scripted,
    principal::{Principal, Scope},
    registry::import::{CONFIG_MEDIA_TYPE, LAYER_MEDIA_TYPE},
};
use oci_client::{
    Reference,
    client::{ClientConfig, ClientProtocol, ImageLayer},
    secrets::RegistryAuth,
};

pub(crate) struct Gateway {
    directory: tempfile::TempDir,
    flags: BTreeMap<String, String>,
    app: Option<App>,
    caller: Principal,
}

// === impl Gateway ===

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut flags: BTreeMap<String, String> = settings.iter().map(own).collect();
        flags.insert("data_dir".to_owned(), directory.path().display().to_string());
        let mut gateway = Self {
            directory,
            flags,
            app: None,
            caller: Principal {
                org: "acme".parse().unwrap(),
                subject: "ci".to_owned(),
                scopes: Scope::ALL.into(),
            },
        };
        gateway.open().await;
        gateway
    }

    pub(crate) async fn restart(&mut self) {
        let app = self.app.take().unwrap();
        app.driver.stop().await;
        app.logs.shutdown().await;
        app.store.shutdown().await;
        drop(app);
        self.open().await;
    }

    async fn open(&mut self) {
        let sources = Sources {
            flags: self.flags.clone(),
            ..Sources::default()
        };
        let mut config = Config::load(sources).unwrap();
        config.plugins.program = PathBuf::from(env!("CARGO_BIN_EXE_ignited"));
        let app = App::open(&config, Arc::new(Scripted::default())).await.unwrap();
        self.app = Some(app);
    }

    fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub(crate) async fn upload(&self, name: &str, version: &str, file: &str) -> Result<v1::Plugin> {
        self.upload_bytes(name, version, component(file)).await
    }

    pub(crate) async fn upload_bytes(&self, name: &str, version: &str, bytes: Vec<u8>) -> Result<v1::Plugin> {
        let metadata = v1::UploadPluginMetadata {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        let chunks: Vec<_> = bytes
            .chunks(10_000)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let bytes = stream::iter(chunks).boxed();
        let uploaded = self
            .app()
            .service
            .upload_plugin(&self.caller, metadata, bytes)
            .await?;
        Ok(uploaded.plugin.unwrap())
    }

    pub(crate) async fn import(&self, reference: &str) -> Result<v1::Plugin> {
        let request = v1::ImportPluginRequest {
            reference: reference.to_owned(),
        };
        let imported = self.app().service.import_plugin(&self.caller, request).await?;
        Ok(imported.plugin.unwrap())
    }

    pub(crate) async fn get_plugin(&self, name: &str, version: &str) -> Result<v1::Plugin> {
        let request = v1::GetPluginRequest {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        let got = self.app().service.get_plugin(&self.caller, request).await?;
        Ok(got.plugin.unwrap())
    }

    pub(crate) async fn delete(&self, name: &str, version: &str) -> Result<()> {
        let request = v1::DeletePluginRequest {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        self.app().service.delete_plugin(&self.caller, request).await?;
        Ok(())
    }

    pub(crate) async fn put(&self, text: &str) -> Result<v1::Policy> {
        let request = v1::PutPolicyRequest {
            text: text.to_owned(),
            ..v1::PutPolicyRequest::default()
        };
        let put = self.app().service.put_policy(&self.caller, request).await?;
        Ok(put.policy.unwrap())
    }

    pub(crate) async fn policy_revision(&self) -> u64 {
        let request = v1::GetPolicyRequest::default();
        let got = self.app().service.get_policy(&self.caller, request).await;
        got.unwrap().policy.unwrap().revision
    }

    /// Of a build that is nothing special, unless the request has one.
    pub(crate) async fn dry_run(
        &self,
        mut request: v1::DryRunPolicyRequest,
    ) -> Result<v1::DryRunPolicyResponse> {
        request.request.get_or_insert_with(build);
        self.app().service.dry_run_policy(&self.caller, request).await
    }

    /// As somebody who may look at policies and nothing else.
    pub(crate) async fn dry_run_as_reader(
        &self,
        mut request: v1::DryRunPolicyRequest,
    ) -> Result<v1::DryRunPolicyResponse> {
        request.request.get_or_insert_with(build);
        let reader = Principal {
            scopes: [Scope::PoliciesRead].into(),
            ..self.caller.clone()
        };
        self.app().service.dry_run_policy(&reader, request).await
    }

    pub(crate) async fn save_secrets(&self, request: v1::SaveBuildSecretsRequest) {
        let saved = self.app().service.save_build_secrets(&self.caller, request).await;
        saved.unwrap();
    }

    pub(crate) async fn builds(&self) -> usize {
        let request = v1::ListBuildsRequest::default();
        let list = self.app().service.list_builds(&self.caller, request).await;
        list.unwrap().builds.len()
    }

    pub(crate) fn stored_components(&self) -> usize {
        let count = |name: &str| {
            let path = self.directory.path().join("plugins").join(name);
            fs::read_dir(path).map_or(0, Iterator::count)
        };
        count("components") + count("staging")
    }
}

pub(crate) fn build() -> v1::CreateBuildRequest {
    let source = v1::GitSource {
        url: "https://git.example/acme/app.git".to_owned(),
        ..v1::GitSource::default()
    };
    v1::CreateBuildRequest {
        name: "app".to_owned(),
        source: Some(Source::GitSource(source)),
        ..v1::CreateBuildRequest::default()
    }
}

/// A zip with one file.
pub(crate) fn archive(name: &str, content: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Fields and descriptions.
pub(crate) fn violations(error: &Error) -> Vec<(String, String)> {
    let Error::InvalidArgument(violations) = error else {
        panic!("another error: {error}");
    };
    violations
        .iter()
        .map(|violation| (violation.field.clone(), violation.description.clone()))
        .collect()
}

/// As `wkg` and others push components.
pub(crate) async fn push_component(host: &str, repository: &str, tag: &str, file: &str) {
    push_component_as(&RegistryAuth::Anonymous, host, repository, tag, file).await;
}

pub(crate) async fn push_component_as(
    login: &RegistryAuth,
    host: &str,
    repository: &str,
    tag: &str,
    file: &str,
) {
    let client = oci_client::Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let reference = Reference::with_tag(host.to_owned(), repository.to_owned(), tag.to_owned());
    let layer = ImageLayer::new(component(file), LAYER_MEDIA_TYPE.to_owned(), None);
    let config = oci_client::client::Config::new(
        &b"{\"architecture\": \"wasm\", \"os\": \"wasip2\"}"[..],
        CONFIG_MEDIA_TYPE.to_owned(),
        None,
    );
    client
        .push(&reference, &[layer], config, login, None)
        .await
        .unwrap();
}

/// Of a tag in a registry that wants a login.
pub(crate) async fn digest_as(login: &RegistryAuth, host: &str, repository: &str, tag: &str) -> String {
    let client = oci_client::Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let reference = Reference::with_tag(host.to_owned(), repository.to_owned(), tag.to_owned());
    client.fetch_manifest_digest(&reference, login).await.unwrap()
}

fn component(name: &str) -> Vec<u8> {
    let folder = env::var_os("IGNITE_TEST_PLUGINS")
        .map(PathBuf::from)
        .expect("IGNITE_TEST_PLUGINS must be the folder of built plugins: run `make setup`");
    let file = format!("{name}.wasm");
    ["", "hostile"]
        .iter()
        .find_map(|below| fs::read(folder.join(below).join(&file)).ok())
        .unwrap_or_else(|| panic!("{file} is not in {}", folder.display()))
}
