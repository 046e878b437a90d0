// The files of the console by path, as `npm run console` builds them from web/ into files.js.

interface BuiltFile {
  readonly type: string;
  readonly text: string;
}

export const files: Readonly<
  Record<"/" | "/console/app.js" | "/console/app.css" | "/console/icon.svg", BuiltFile>
>;
