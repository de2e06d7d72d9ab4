//! `ignite plugin test`: a plugin's cases, run here as the gateway would.

use std::{path::Path, time::Instant};

use super::build;
use crate::{
    args::plugin::TestArgs,
    case::report::{Report, load},
    error::{Error, Result},
    offline::Offline,
    settings::Settings,
};

pub(super) async fn run(args: TestArgs, settings: &Settings) -> Result<()> {
    let (component, tests) = if args.plugin.is_dir() {
        let tests = args.plugin.join("tests");
        (build::component(&args.plugin)?, tests)
    } else {
        (args.plugin, Path::new("tests").to_owned())
    };
    let given = if args.cases.is_empty() {
        vec![tests]
    } else {
        args.cases
    };
    let cases = load(&given)?;
    let offline = Offline::new()?;
    let admitted = offline.load(&component).await?;
    let begun = Instant::now();
    let mut report = Report::default();
    for (file, case) in cases {
        let Some(hook) = case.hook else {
            let what = "hook: must say which of the plugin's hooks the case is for";
            return Err(Error::input(format!("{}:1: {what}", file.display())));
        };
        let outcome = case.on_plugin(&offline, &admitted, hook).await?;
        report.add(file, &case, outcome);
    }
    report.finish(settings, begun.elapsed())
}
