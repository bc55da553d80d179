-- Signatures over whole generations: components, settings and number. They come after the generation, which is immutable.
CREATE TABLE rule_generation_signatures (
    generation BIGINT NOT NULL PRIMARY KEY,
    signer TEXT NOT NULL,
    signature BYTEA NOT NULL
);
