//! The thirty secrets. Put together here, so that no scanner of this repository takes them for real ones.

/// How many there are. Who needs no more than that has none of them in its own program.
pub const COUNT: usize = 30;

/// What kind it is, and its value. The same each time.
pub fn all() -> Vec<(&'static str, String)> {
    // Together their forms are within what the gateway looks for in full; see `docs/SECURITY.md` for what is beyond.
    let long = letters(4096, 23);
    let overlapped = letters(18, 26);
    vec![
        ("shortest", "q7#Zk2".to_owned()),
        ("digits", "493817265041".to_owned()),
        ("spaces", "correct horse battery staple 91".to_owned()),
        ("shell", "p$a`s\"s'w\\o!r&d|;<>(){}*?~#".to_owned()),
        ("url", "100%&a=b+c/d?e#f:g@h".to_owned()),
        ("unicode", "Grüße-пароль-密码-🔑-fin".to_owned()),
        (
            "json",
            format!(r#"{{"user": "svc", "pass": "{}"}}"#, letters(20, 6)),
        ),
        (
            "json lines",
            format!(
                "{{\n  \"project_id\": \"{}\",\n  \"private_key_id\": \"{}\"\n}}\n",
                letters(12, 7),
                letters(40, 8)
            ),
        ),
        ("pem", pem("PRIVATE KEY", 12, 9)),
        ("openssh", pem("OPENSSH PRIVATE KEY", 7, 10)),
        ("tabs", format!("tab\t{}\ttab", letters(12, 11))),
        (
            "database",
            format!(
                "postgres://svc:{}@db.internal:5432/app?sslmode=require",
                letters(14, 12)
            ),
        ),
        ("hex", digits(64, 13).to_lowercase()),
        ("hex upper", digits(32, 14)),
        ("base64", format!("{}+/{}==", letters(20, 15), letters(20, 16))),
        ("base64url", format!("{}-_{}", letters(22, 17), letters(19, 18))),
        (
            "jwt",
            format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", letters(40, 19), letters(43, 20)),
        ),
        ("token", format!("{}_{}", "ghp", letters(36, 21))),
        (
            "cloud",
            format!("{}/{}+{}", letters(12, 22), letters(13, 24), letters(13, 25)),
        ),
        ("registry", format!("dckr-pass {}", letters(16, 27))),
        ("git", format!("{}-{}", "glpat", letters(20, 28))),
        ("xml", format!("<pass word=\"{}\">&'", letters(10, 29))),
        (
            "backslashes",
            format!(r"C:\Users\svc\new\{}\\share", letters(8, 30)),
        ),
        ("long", long),
        ("long lines", pem("RSA PRIVATE KEY", 51, 31)),
        ("repeating", "ab".repeat(8)),
        ("longer", format!("{overlapped}-and-more")),
        ("beginning of longer", overlapped),
        ("expression", format!(r"^[a-z]+(\d{{3}})\.{}$", letters(8, 32))),
        ("padded", format!("  {}  ", letters(24, 33))),
    ]
}

/// The name of the build arg that the nth secret is given as.
pub fn arg_name(index: usize) -> String {
    format!("PLANTED_SECRET_{index:02}")
}

fn pem(kind: &str, lines: u64, seed: u64) -> String {
    let body: String = (0..lines)
        .map(|line| format!("{}\n", letters(64, seed * 1000 + line)))
        .collect();
    format!("-----BEGIN {kind}-----\n{body}-----END {kind}-----\n")
}

fn digits(count: usize, seed: u64) -> String {
    chosen(b"0123456789ABCDEF", count, seed)
}

/// Letters and digits that repeat nowhere else.
pub fn letters(count: usize, seed: u64) -> String {
    chosen(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        count,
        seed,
    )
}

fn chosen(alphabet: &[u8], count: usize, seed: u64) -> String {
    // splitmix64, from states so far apart that no text is a part of another.
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap()
    };
    (0..count)
        .map(|_| char::from(alphabet[next() % alphabet.len()]))
        .collect()
}
