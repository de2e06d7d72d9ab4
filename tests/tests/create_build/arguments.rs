//! Build args reach the Dockerfile; secret ones reach nothing else.

use ignite_proto::v1;
use ignite_tests::{at_each_site, caller::inline, context::Context, image::Image, site::Site};

at_each_site! {
    build_args_reach_from_lines_and_steps,
    a_secret_arg_reaches_the_step_but_neither_record_nor_log_nor_disk,
}

fn with_args(request: v1::CreateBuildRequest, args: &[(&str, &str)]) -> v1::CreateBuildRequest {
    v1::CreateBuildRequest {
        build_args: args
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..request
    }
}

async fn build_args_reach_from_lines_and_steps(site: Site<'_>) {
    let gateway = site.gateway().start();
    let registry = site.registry();
    let context = Context::new(
        "ARG BASE\n\
         FROM ${BASE}\n\
         ARG VERSION=unset\n\
         ARG DEFAULTED=by-the-file\n\
         ARG AWKWARD\n\
         RUN printf '%s|%s|%s' \"$VERSION\" \"$DEFAULTED\" \"$AWKWARD\" > /args\n\
         CMD [\"cat\", \"/args\"]\n",
    );
    let awkward = "spaces, 'quotes', \"more\", $dollar, = and ümlaut";
    let args = [
        ("BASE", registry.busybox()),
        ("VERSION", "1.2.3".into()),
        ("AWKWARD", awkward.into()),
    ];
    let args: Vec<(&str, &str)> = args.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let build = gateway
        .caller()
        .succeed(with_args(inline("args", &context), &args))
        .await;
    assert_eq!(build.build_args["VERSION"], "1.2.3");
    let image = Image::pull(registry, &build.image_refs[0]);
    assert_eq!(image.run(), format!("1.2.3|by-the-file|{awkward}"));
}

async fn a_secret_arg_reaches_the_step_but_neither_record_nor_log_nor_disk(site: Site<'_>) {
    const SECRET: &str = "hunter2-hunter2-hunter2";
    let gateway = site.gateway().start();
    let registry = site.registry();
    let caller = gateway.caller();
    let context = Context::new(&format!(
        "FROM {}\nARG NPM_TOKEN\nRUN echo \"token $NPM_TOKEN, length ${{#NPM_TOKEN}}\"\n",
        registry.busybox()
    ));
    let request = v1::CreateBuildRequest {
        no_cache: true,
        ..with_args(inline("secret", &context), &[("NPM_TOKEN", SECRET)])
    };
    let build = caller.succeed(request).await;
    assert_eq!(build.build_args["NPM_TOKEN"], "***");

    let log = caller.log(&build.id).await;
    assert!(
        log.contains(&format!("token ***, length {}", SECRET.len())),
        "{log}"
    );
    assert!(
        !log.contains(SECRET) && !format!("{build:?}").contains(SECRET) && !gateway.log().contains(SECRET)
    );
    let found = ignite_tests::command::output(
        std::process::Command::new("grep")
            .args(["--recursive", "--text", "--files-with-matches", SECRET])
            .arg(gateway.data_dir()),
    );
    assert_eq!(
        String::from_utf8_lossy(&found.stdout),
        "",
        "the secret is on disk"
    );
}
