import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

final class Driver {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split("\t", -1);
            String profile = fields[0];
            byte[] body = Base64.getDecoder().decode(fields[1]);
            String secret = text(fields[2]);
            Map<String, String> named = new HashMap<>();
            for (int at = 3; at < fields.length; at++) {
                int colon = fields[at].indexOf(':');
                named.put(fields[at].substring(0, colon), text(fields[at].substring(colon + 1)));
            }
            Function<String, String> headers = name -> named.get(name.toLowerCase());
            System.out.println(Stream.of(CALL).map(String::valueOf).collect(Collectors.joining(" ")));
        }
    }

    private static String text(String encoded) {
        return new String(Base64.getDecoder().decode(encoded), StandardCharsets.UTF_8);
    }
}
