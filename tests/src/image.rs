//! A pushed image, taken back and run by tools that are not ours: skopeo copies it, umoci unpacks it, runc runs it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::{command, registry::Registry};

/// An image unpacked into a bundle.
#[derive(Debug)]
pub struct Image {
    folder: tempfile::TempDir,
    manifest: Value,
    config: Value,
}

const TAG: &str = "image";

// === impl Image ===

impl Image {
    /// Takes an image from a registry by its full reference.
    pub fn pull(registry: &Registry, reference: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ignite-image-")
            .tempdir()
            .unwrap();
        let layout = folder.path().join("layout");
        registry.export(reference, &layout, TAG);
        command::run(
            Command::new("umoci")
                .args(["unpack", "--image"])
                .arg(format!("{}:{TAG}", layout.display()))
                .arg(folder.path().join("bundle")),
        );
        let blob = |digest: &Value| -> Value {
            let name = digest.as_str().unwrap().replace(':', "/");
            serde_json::from_slice(&fs::read(layout.join("blobs").join(name)).unwrap()).unwrap()
        };
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let manifest = blob(&index["manifests"][0]["digest"]);
        let config = blob(&manifest["config"]["digest"])["config"].clone();
        Self {
            folder,
            manifest,
            config,
        }
    }

    /// The image's configuration: `Env`, `Entrypoint`, `Cmd`, `User`, `WorkingDir`, `Labels`, …
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Number of layers, and the compressed bytes of layers and configuration together.
    pub fn size(&self) -> (usize, u64) {
        let layers = self.manifest["layers"].as_array().unwrap();
        let bytes = |descriptor: &Value| descriptor["size"].as_u64().unwrap();
        let total = layers.iter().map(bytes).sum::<u64>() + bytes(&self.manifest["config"]);
        (layers.len(), total)
    }

    /// A file of the image, on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder
            .path()
            .join("bundle/rootfs")
            .join(path.trim_start_matches('/'))
    }

    /// Runs the image's own command; returns what it printed.
    pub fn run(&self) -> String {
        Self::printed(&self.run_as(None))
    }

    /// Runs another command in the image.
    pub fn run_command(&self, arguments: &[&str]) -> String {
        Self::printed(&self.run_as(Some(arguments)))
    }

    /// Runs a command, or the image's own, with the image's user, environment and folder.
    pub fn run_as(&self, arguments: Option<&[&str]>) -> Output {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let bundle = self.folder.path().join("bundle");
        let file = bundle.join("config.json");
        let mut runtime: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        runtime["process"]["terminal"] = json!(false);
        if let Some(arguments) = arguments {
            runtime["process"]["args"] = json!(arguments);
        }
        fs::write(&file, runtime.to_string()).unwrap();
        let id = format!(
            "ignite-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        command::output(
            Command::new("runc")
                .arg("--root")
                .arg(self.folder.path().join("runc"))
                .args(["run", "--bundle"])
                .arg(&bundle)
                .arg(id),
        )
    }

    fn printed(output: &Output) -> String {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
        stdout.trim_end().to_owned()
    }
}
