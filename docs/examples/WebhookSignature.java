import static java.nio.charset.StandardCharsets.UTF_8;

import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import java.util.HexFormat;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Java 17 or later. */
final class WebhookSignature {
    private static final Pattern TIME_AND_SIGNATURE = Pattern.compile("t=([0-9]{1,15}),v1=([0-9a-f]+)");

    /**
     * header: such as request::getHeader, null for an absent header. body: request.getInputStream().readAllBytes(). secret: as
     * it was shown, with its prefix.
     */
    static boolean verify(Function<String, String> header, byte[] body, String secret) throws GeneralSecurityException {
        String time = text(header, "webhook-timestamp");
        if (secret.isEmpty() || !isRecent(time)) {
            return false;
        }
        byte[] key = secret.startsWith("whsec_")
                ? Base64.getDecoder().decode(secret.substring("whsec_".length())) : secret.getBytes(UTF_8);
        byte[] mac = mac(key, text(header, "webhook-id") + "." + time + ".", body);
        String expected = "v1," + Base64.getEncoder().encodeToString(mac);
        boolean matches = false;
        for (String given : text(header, "webhook-signature").split(" ")) {
            matches |= same(given, expected);
        }
        return matches;
    }

    /** A product's own header. profile: one of the table. */
    static boolean verifyProduct(String profile, Function<String, String> header, byte[] body, String secret)
            throws GeneralSecurityException {
        if (secret.isEmpty()) {
            return false;
        }
        byte[] key = secret.getBytes(UTF_8);
        switch (profile) {
            case "migma":
                return same(text(header, "X-Migma-Signature"), hex(mac(key, "", body)));
            case "migomail":
            case "magnetite":
                return same(text(header, "X-" + profile + "-Signature"), "sha256=" + hex(mac(key, "", body)));
            case "mumara":
                return same(text(header, "X-Mumara-Token"), secret);
            case "metigan":
                Matcher parts = TIME_AND_SIGNATURE.matcher(text(header, "X-Webhook-Signature"));
                return parts.matches() && isRecent(parts.group(1))
                        && same(parts.group(2), hex(mac(key, parts.group(1) + ".", body)));
            default:
                return false;
        }
    }

    private static byte[] mac(byte[] key, String before, byte[] body) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update(before.getBytes(UTF_8));
        return mac.doFinal(body);
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    private static String text(Function<String, String> header, String name) {
        String value = header.apply(name);
        return value == null ? "" : value;
    }

    private static boolean same(String given, String expected) {
        return MessageDigest.isEqual(given.getBytes(UTF_8), expected.getBytes(UTF_8));
    }

    /** Whether a time in Unix seconds is within five minutes of this clock. */
    private static boolean isRecent(String time) {
        return time.matches("[0-9]{1,15}") && Math.abs(Instant.now().getEpochSecond() - Long.parseLong(time)) <= 300;
    }
}
