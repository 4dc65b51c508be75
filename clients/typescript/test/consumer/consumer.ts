// A program in a project with nothing but the compiler's defaults: the package's types are whole by themselves.
import { type Session, TurntreeClient, TurntreeError } from "turntree";

export async function sessionsOf(client: TurntreeClient): Promise<Session[] | undefined> {
  try {
    return (await client.listSessions({})).sessions;
  } catch (error) {
    if (error instanceof TurntreeError && error.code === "UNAVAILABLE") return undefined;
    throw error;
  }
}
