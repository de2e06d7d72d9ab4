//! The Kubernetes executor by itself, put through what every executor must do.

use ignite_server::executor::conformance;

use self::fixture::Pods;

mod contexts;
mod fixture;

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let pods = Pods::start().await;
            if let Err(broken) = conformance::$case(&pods).await {
                panic!("{broken}");
            }
        }
    )*};
}

conformance![
    a_build_is_fetched_logged_and_pushed,
    a_failing_step_keeps_its_exit_code,
    build_args_arrive_and_are_on_no_command_line,
    a_run_starts_once,
    a_gated_run_builds_once_it_may_and_not_before,
    a_gated_run_that_waits_can_be_stopped,
    following_from_the_middle_neither_loses_nor_doubles,
    many_followers_get_the_same,
    stopping_a_live_run_kills_it,
    stopping_at_once_or_too_late_is_fine,
    a_deadline_is_kept,
    too_much_memory_is_told_apart,
    too_much_disk_is_told_apart,
    a_lost_run_is_known_and_leaves_no_process,
    a_restarted_daemon_finds_and_follows_a_live_run,
    a_failed_fetch_is_told_apart,
    forgetting_leaves_nothing,
];
