// `job init`: writes an example job file to start from.
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileErrorText } from "../core/errors.ts";
import { bool, string } from "./args.ts";
import { command } from "./command.ts";
import { CommandError, UsageError } from "./errors.ts";
import { exists } from "./files.ts";

const DEFAULT_NAME = "example.nomad.hcl";

export const jobInit = command({
  form: "nomad job init <filename>",
  about: `Alias: nomad init

Writes an example job file that can be used as a starting point, to
${DEFAULT_NAME} unless another name is given.`,
  general: "none",
  title: "Init Options",
  args: { min: 0, max: 1, complaint: "This command takes either no arguments or one: <filename>" },
  flags: {
    connect: bool("An example with a service mesh."),
    "list-templates": bool("Show the templates that are stored in variables."),
    short: bool("A minimal example without comments."),
    template: string("Start from this template that is stored in a variable.", "name"),
  },
  async run(context) {
    const { flags, args, io, ui } = context;
    if (flags["list-templates"]) throw new CommandError("No variables in nomad/job-templates");
    if (flags.template !== "") {
      throw new CommandError(
        "Variable not found\nTemplates are kept in variables, which are not part of this version; leave -template away.",
      );
    }
    const name = args[0] ?? DEFAULT_NAME;
    if (name === "") throw new UsageError("The file needs a name");
    const path = resolve(io.cwd, name);
    if (await exists(path)) throw new CommandError(`Job '${name}' already exists`);
    const text = flags.connect ? (flags.short ? CONNECT_SHORT : CONNECT) : flags.short ? SHORT : FULL;
    await writeFile(path, text).catch((error) => {
      throw new CommandError(`Failed to write '${name}': ${fileErrorText("open", name, error)}`);
    });
    ui.output(`Example job file written to ${name}`);
    return 0;
  },
});

const SHORT = `job "example" {
  group "web" {
    network {
      port "http" {}
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "python3"
        args    = ["-m", "http.server", "\${NOMAD_PORT_http}", "--directory", "local"]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
`;

const FULL = `# A job is what you want to have running. Register it with
#
#     nomad job run ${DEFAULT_NAME}
#
# and look at it with \`nomad job status example\`.
job "example" {
  # "service" jobs run until they are stopped, "batch" jobs until they are done,
  # "system" jobs run once on every node.
  type = "service"

  # How a change of this file is rolled out: one allocation at a time, and back
  # to the last version that worked when the new one does not become healthy.
  update {
    max_parallel     = 1
    min_healthy_time = "5s"
    healthy_deadline = "2m"
    auto_revert      = true
  }

  # The tasks of a group run on the same node, and share its network and files.
  group "web" {
    count = 1

    # A port of the node that nobody else has; the task finds its number in
    # NOMAD_PORT_http.
    network {
      port "http" {}
    }

    # Where others find the task, and how it is known that it works.
    service {
      name     = "example-web"
      provider = "nomad"
      port     = "http"
      tags     = ["example"]

      check {
        name     = "answers"
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # What happens when a task ends: up to two attempts within half an hour.
    # After that the allocation has failed and is placed elsewhere.
    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    task "server" {
      # "raw_exec" runs a program of the node as it is; "podman" runs containers.
      driver = "raw_exec"

      config {
        command = "python3"
        args    = ["-m", "http.server", "\${NOMAD_PORT_http}", "--directory", "local"]
      }

      # A file in the task's directory, written before it starts.
      template {
        destination = "local/index.html"
        data        = <<-EOF
          <p>Hello from {{ env "NOMAD_ALLOC_ID" }}</p>
        EOF
      }

      env {
        GREETING = "hello"
      }

      logs {
        max_files     = 3
        max_file_size = 5
      }

      # What the task needs: MHz of CPU and MiB of memory.
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
`;

const CONNECT_SHORT = `job "mesh" {
  group "api" {
    network {
      mode = "bridge"
    }

    service {
      name = "count-api"
      port = "9001"

      connect {
        sidecar_service {}
      }
    }

    task "web" {
      driver = "docker"

      config {
        image = "registry.example.com/counter-api:1"
      }
    }
  }

  group "dashboard" {
    network {
      mode = "bridge"

      port "http" {
        static = 9002
        to     = 9002
      }
    }

    service {
      name = "count-dashboard"
      port = "9002"

      connect {
        sidecar_service {
          proxy {
            upstreams {
              destination_name = "count-api"
              local_bind_port  = 8080
            }
          }
        }
      }
    }

    task "dashboard" {
      driver = "docker"

      env {
        COUNTING_SERVICE_URL = "http://\${NOMAD_UPSTREAM_ADDR_count_api}"
      }

      config {
        image = "registry.example.com/counter-dashboard:1"
      }
    }
  }
}
`;

const CONNECT = `# Two groups that talk to each other through the sidecars of a service mesh.
# Nodes need Consul and Envoy for it.
${CONNECT_SHORT}`;
