use super::*;

const MAX: Limits = Limits {
    memory_bytes: 4 << 30,
    cpu_millis: 2000,
    disk_bytes: 20 << 30,
    pids: 10,
};

#[test]
fn a_file_names_classes_and_what_is_asked_for_where_nothing_is_named() {
    let classes = ResourceClasses::parse(
        "default = \"small\"\n[small]\ncpu_millis = 400\nmemory = \"1GiB\"\ndisk = \"2GiB\"\n\
         [big]\ncpu_millis = 2000\nmemory = \"4GiB\"\ndisk = \"20GiB\"\nmemory_request = \"4GiB\"\n",
        MAX,
    )
    .unwrap();
    let small = classes.get(None);
    assert_eq!(small.limits.memory_bytes, 1 << 30);
    assert_eq!(small.requests.cpu_millis, 100);
    assert_eq!(classes.get(Some("big")).requests.memory_bytes, 4 << 30);
    assert_eq!(classes.get(Some("gone")), small);
    assert_eq!(classes.names().collect::<Vec<_>>(), ["big", "small"]);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let row = |memory: &str, more: &str| {
        format!("[a]\ncpu_millis = 1\nmemory = \"{memory}\"\ndisk = \"1GiB\"\n{more}")
    };
    for (text, says) in [
        (row("5GiB", ""), "build_memory_bytes_max"),
        (row("0B", ""), "above 0"),
        (
            row("1GiB", "memory_request = \"2GiB\""),
            "memory_request is above memory",
        ),
        (row("1GiB", "gpu = 1"), "gpu"),
        (row("many", ""), "is not a table"),
        (format!("default = \"b\"\n{}", row("1GiB", "")), "is not there"),
    ] {
        let error = ResourceClasses::parse(&text, MAX).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn without_a_file_classes_are_shares_of_what_a_build_may_use() {
    let classes = ResourceClasses::within(MAX);
    assert_eq!(classes.get(Some("small")).limits.cpu_millis, 500);
    assert_eq!(classes.get(Some("medium")).limits.memory_bytes, 2 << 30);
    assert_eq!(classes.get(Some("large")), classes.get(None));
}
