{
  description = "Persistent SSH sessions as MCP tools for AI coding agents";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      manifest = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEach = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEach (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = manifest.name;
          version = manifest.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # The tests start SSH servers and a dozen shells; `npm run check` runs them.
          doCheck = false;
          postInstall = ''
            installManPage man/mcp-ssh-sessions.1
            installShellCompletion \
              completions/mcp-ssh-sessions.bash \
              completions/mcp-ssh-sessions.fish \
              completions/_mcp-ssh-sessions
          '';
          meta = {
            description = manifest.description;
            homepage = manifest.repository;
            license = pkgs.lib.licenses.mit;
            mainProgram = manifest.name;
          };
        };
      });
    };
}
