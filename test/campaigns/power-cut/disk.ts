// A disk whose power can be cut: a file system in an image, mounted over a loop device. Cutting
// shuts the file system down without flushing anything; what a new mount finds is what had been
// synced, and of the rest whatever the file system's journal makes of it. Needs root.
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { canRun, scratchFolder } from "../support/server-process.ts";

export const fileSystems = ["ext4", "xfs"] as const;
export type FileSystem = (typeof fileSystems)[number];

const imageBytes = 640 * 1024 * 1024;
const base = existsSync("/dev/shm") ? "/dev/shm" : "/tmp";
/** EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN with NOLOGFLUSH: nothing more reaches the device. */
const shutDown =
  'open F, "<", $ARGV[0] or die $!; my $how = pack("L", 2); ioctl(F, 0x8004587d, $how) or die $!';

export class CuttableDisk {
  readonly mountPoint: string;
  private readonly folder: string;
  private readonly device: string;
  private readonly type: FileSystem;
  private mounted = false;

  constructor(type: FileSystem) {
    this.type = type;
    this.folder = scratchFolder("power-cut", base);
    this.mountPoint = join(this.folder, "disk");
    const image = join(this.folder, "image");
    mkdirSync(this.mountPoint);
    const file = openSync(image, "w");
    ftruncateSync(file, imageBytes);
    closeSync(file);
    run(`mkfs.${type}`, "-q", type === "ext4" ? "-F" : "-f", image);
    this.device = run("losetup", "--find", "--show", image).trim();
    this.mount();
  }

  mount(): void {
    run("mount", "-t", this.type, this.device, this.mountPoint);
    this.mounted = true;
  }

  cut(): void {
    run("perl", "-e", shutDown, this.mountPoint);
  }

  unmount(): void {
    if (this.mounted) run("umount", this.mountPoint);
    this.mounted = false;
  }

  /** Whatever still has files open there. */
  remove(): void {
    if (this.mounted) run("umount", "--lazy", this.mountPoint);
    run("losetup", "--detach", this.device);
    rmSync(this.folder, { recursive: true });
  }
}

/** Why there can be no such disk here; undefined where there can. */
export function cannotCut(type: FileSystem): string | undefined {
  if (process.getuid?.() !== 0) return "power cuts need root";
  if (!canRun("sh", "-c", `command -v mkfs.${type} losetup mount perl`)) {
    return `power cuts on ${type} need mkfs.${type}, losetup, mount and perl`;
  }
  try {
    new CuttableDisk(type).remove();
  } catch (error) {
    return `no ${type} can be mounted here: ${(error as Error).message}`;
  }
  return undefined;
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
