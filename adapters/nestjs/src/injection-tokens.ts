// What the module provides, by token.

export const annalsClient = Symbol("AnnalsClient");
export const annalsOptions = Symbol("AnnalsModuleOptions");

export function repositoryToken(name: string): string {
  return `AnnalsRepository:${name}`;
}
