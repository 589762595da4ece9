// The compiler of job files on its own, warm and cold: a job of a thousand lines as people write them (groups, tasks,
// variables, locals, templates, dynamic blocks), and a small one.
import { formatHcl, parseJob } from "../jobspec/jobspec.ts";
import { median, ms, percentile, type Row } from "./measure.ts";

const HEAD = `variable "version" {
  type    = string
  default = "1.27"
}

variable "sites" {
  type    = list(string)
  default = ["north", "south"]
}

locals {
  image = "registry.example.com/app:\${var.version}"
  tags  = [for site in var.sites : upper(site)]
}

job "plant" {
  datacenters = ["dc1", "dc2"]
  type        = "service"

  update {
    max_parallel     = 2
    min_healthy_time = "10s"
    healthy_deadline = "3m"
    auto_revert      = true
  }
`;

const group = (n: number) =>
  `
  group "line-\${n}" {
    count = 3

    constraint {
      attribute = "\${attr.kernel.name}"
      value     = "linux"
    }

    network {
      port "http" {
        to = 8080
      }
      port "metrics" {}
    }

    service {
      name = "line-\${n}"
      port = "http"
      tags = concat(local.tags, ["line=\${n}"])

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "app" {
      driver = "podman"

      config {
        image = local.image
        ports = ["http", "metrics"]
        args  = ["-listen", "\${NOMAD_ADDR_http}", "-site", "\${meta.site}"]
      }

      env {
        LINE     = "\${n}"
        SITES    = join(",", local.tags)
        LOG      = var.version == "1.27" ? "debug" : "info"
      }

      template {
        destination = "local/app.conf"
        data        = <<-EOT
          listen = {{ env "NOMAD_PORT_http" }}
          %{for site in var.sites~}
          site = \${site}
          %{endfor~}
        EOT
      }

      dynamic "artifact" {
        for_each = var.sites
        content {
          source      = "https://example.com/\${artifact.value}.tar.gz"
          destination = "local/\${artifact.value}"
        }
      }

      resources {
        cpu    = 500
        memory = 64 * 4
      }
    }
  }
`.replaceAll("${n}", String(n));

/** A job file with at least so many lines. */
export function jobOfLines(lines: number): string {
  let text = HEAD;
  for (let n = 1; text.split("\n").length < lines; n++) text += group(n);
  return `${text}}\n`;
}

const SMALL = `job "hello" {
  group "main" {
    task "hello" {
      driver = "raw_exec"
      config {
        command = "/bin/echo"
        args    = ["hello"]
      }
    }
  }
}
`;

function time(action: () => unknown): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}

/** Milliseconds of the first run in this process, and of warm ones. */
function row(what: string, action: () => unknown): Row {
  const first = time(action);
  for (let i = 0; i < 50; i++) action();
  const warm = Array.from({ length: 200 }, () => time(action));
  return { what, first: ms(first), p50: ms(median(warm)), p99: ms(percentile(warm, 99)) };
}

// deno-lint-ignore require-await
export async function jobspec(): Promise<Row[]> {
  const large = jobOfLines(1000);
  const lines = large.split("\n").length;
  return [
    row("parseJob, 10 lines", () => parseJob(SMALL)),
    row(`parseJob, ${lines} lines`, () => parseJob(large)),
    row(`formatHcl, ${lines} lines`, () => formatHcl(large)),
  ];
}
