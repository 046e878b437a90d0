import { testAdapter } from "./typescript-adapter.ts";

testAdapter("nestjs", 8);
