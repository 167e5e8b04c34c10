// Runs the official SDK through every operation and prints what it made of our answers, as one JSON object.
// Masking calls have a base URL of their own that no option of the SDK sets (plivo-wire.md §2).
'use strict';

const axios = require('axios');
const { MASKING_API, AUTH_ID, AUTH_TOKEN, FIRST_PARTY, SECOND_PARTY } = process.env;

const create = axios.create.bind(axios);
axios.create = (...settings) => {
  const instance = create(...settings);
  instance.interceptors.request.use((request) => {
    request.url = request.url.replace('https://api.plivo.com', MASKING_API);
    request.timeout = 20000; // the SDK's own is longer than the test waits
    return request;
  });
  return instance;
};

const plivo = require('plivo');

const failure = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return { message: error.message, status: error.status };
  }
  throw new Error('this should have failed');
};

const main = async () => {
  const sessions = new plivo.Client(AUTH_ID, AUTH_TOKEN).maskingSession;
  const stranger = new plivo.Client(AUTH_ID, 'not the token').maskingSession;
  const created = await sessions.createMaskingSession(FIRST_PARTY, SECOND_PARTY, {
    sessionExpiry: 600,
    callbackUrl: 'https://customer.example/events',
    geoMatch: true,
  });
  const uuid = created.sessionUuid;
  const day = 24 * 3600 * 1000;
  const minute = (moment) => new Date(moment).toISOString().slice(0, 16).replace('T', ' ');
  const told = {
    created,
    got: await sessions.getMaskingSession(uuid),
    updated: await sessions.updateMaskingSession(uuid, { record: true, sessionExpiry: 7200 }),
    listed: await sessions.listMaskingSession({
      firstParty: FIRST_PARTY,
      status: 'active',
      createdTimeGreaterThan: minute(Date.now() - day),
      durationGreaterOrEqual: 7000,
      limit: 5,
    }),
    listedByDurationEquals: await sessions.listMaskingSession({ durationEquals: 1 }),
    expired: await sessions.deleteMaskingSession(uuid),
    wrong: await failure(sessions.createMaskingSession('twelve', SECOND_PARTY)),
    expiredTwice: await failure(sessions.deleteMaskingSession(uuid)),
    missing: await failure(sessions.getMaskingSession('no-such-session')),
    unauthenticated: await failure(stranger.getMaskingSession(uuid)),
  };
  console.log(JSON.stringify(told));
};

main().catch((error) => {
  console.error(error.config ? `${error.config.method} ${error.config.url}` : '', error);
  process.exit(1);
});
