//! The upper bound: a warp handler that answers a constant.

use std::io::Write;

use warp::Filter;

/// Serves a constant body of `bytes` bytes on a free port until it is killed.
pub(crate) fn serve(bytes: usize) -> std::io::Result<()> {
    // The same runtime as that of `accounts-server`.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let body: &'static str = String::leak("x".repeat(bytes));
    let answer =
        warp::any().map(move || warp::reply::with_header(body, "content-type", "application/json"));
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "bare warp on http://{}", listener.local_addr()?)?;
        stdout.flush()?;
        warp::serve(answer).incoming(listener).run().await;
        Ok(())
    })
}
