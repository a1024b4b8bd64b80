//! Has GraphiQL compiled in where `scripts/playground` has built it; else the edge serves a plain page of its own.
//!
//! Nothing is fetched or run here, so `cargo build` needs neither Node.js nor a network.

use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(graphiql)");
    // A directory is watched with all that is in it; it is there even when nothing was built.
    println!("cargo::rerun-if-changed=playground/dist");
    let built = ["html", "js", "css"].iter().all(|kind| {
        let file = format!("playground/dist/playground.{kind}");
        Path::new(&file).is_file() && Path::new(&format!("{file}.gz")).is_file()
    });
    if built {
        println!("cargo::rustc-cfg=graphiql");
    }
}
