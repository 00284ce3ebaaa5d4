#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_ssh_sessions_fuzz::targets::forward::run(data));
